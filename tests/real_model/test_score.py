"""The scoring script of examples/azureml by itself: what it answers and what it refuses.

Run by scripts/test with the Python of `scripts/tool python`.
"""

import json
import pathlib
import sys
import unittest

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "azureml"
sys.path.insert(0, str(EXAMPLE))
import score  # noqa: E402  (the folder has to be on the path first)

ROW = {"area_m2": 70, "rooms": 3, "distance_km": 5}


def answer(data):
    """Status and body, as the server would send them."""
    result = score.run(data)
    if isinstance(result, dict):
        return 200, result
    return result.status_code, json.loads(result.get_data())


class Score(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        score.init()

    def test_a_row_is_scored_by_the_linear_model(self):
        expected = 40.0 + 3.5 * 70 + 12.0 * 3 - 4.0 * 5
        self.assertEqual(answer(json.dumps({"rows": [ROW]})), (200, {"predictions": [expected]}))

    def test_as_many_rows_as_allowed_are_scored_and_one_more_is_refused(self):
        status, body = answer(json.dumps({"rows": [ROW] * score.MAX_ROWS}))
        self.assertEqual((status, len(body["predictions"])), (200, score.MAX_ROWS))
        status, body = answer(json.dumps({"rows": [ROW] * (score.MAX_ROWS + 1)}))
        self.assertEqual(status, 400)
        self.assertIn(str(score.MAX_ROWS), body["error"])

    def test_what_is_no_row_of_numbers_is_the_callers_fault(self):
        bad_rows = [
            {},
            [],
            7,
            {**ROW, "rooms": "3"},
            {**ROW, "rooms": True},
            {**ROW, "rooms": None},
            {**ROW, "rooms": float("nan")},
            {**ROW, "rooms": float("inf")},
            {**ROW, "rooms": 10**400},
            {**ROW, "garden": 1},
        ]
        bodies = [json.dumps({"rows": [row]}) for row in bad_rows]
        bodies += ["", "nope", "[1]", "7", '{"rows": []}', '{"rows": 7}', "[" * 100_000]
        for body in bodies:
            with self.subTest(body[:60]):
                status, said = answer(body)
                self.assertEqual(status, 400)
                self.assertTrue(said["error"])


if __name__ == "__main__":
    unittest.main()
