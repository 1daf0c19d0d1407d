"""docs/kubernetes.md: its commands are run, and what they print is what the page shows."""

import os
import tempfile
import unittest

import chart
import cluster
import router
import walk

PAGE = chart.ROOT / "docs" / "kubernetes.md"
SAMPLE = """\
# A page

```console api
$ echo one; \\
    echo two
one
two
$ false
```

```sh
$ not a command
```

```console cluster
$ echo three
th…
…
```
"""


class Reading(unittest.TestCase):
    def test_commands_are_found_with_their_outputs(self):
        found = walk.steps(SAMPLE)
        self.assertEqual(
            [(step.tier, step.line, step.command, step.expected) for step in found],
            [
                ("api", 4, "echo one; \\\n    echo two", ["one", "two"]),
                ("api", 8, "false", []),
                ("cluster", 16, "echo three", ["th…", "…"]),
            ],
        )

    def test_a_block_has_to_say_what_it_needs(self):
        for text in ("```console\n$ true\n```\n", "```console api\ntrue\n```\n"):
            with self.assertRaises(ValueError):
                walk.steps(text)

    def test_outputs_are_compared_but_for_what_is_left_open(self):
        for shown, printed, expected in (
            (["one"], ["one"], True),
            (["one"], ["two"], False),
            (["one"], ["one", "two"], False),
            (["NAME   AGE", "a      …s"], ["NAME AGE", "a    12s"], True),
            (["a …s"], ["a 12m"], False),
            (["…"], [], True),
            (["a", "…", "d"], ["a", "b", "c", "d"], True),
            (["a", "…", "d"], ["a", "b", "c"], False),
            (["a.c"], ["abc"], False),
        ):
            self.assertEqual(walk.matches(shown, printed), expected, (shown, printed))

    def test_commands_run_in_one_shell_and_failures_are_found(self):
        text = "```console api\n$ export WORD=one\n$ echo $WORD\none\n$ echo $WORD\ntwo\n$ false\n```\n"
        found = walk.steps(text)
        problems = walk.differences(found, walk.run(found, dict(os.environ)))
        self.assertEqual([problem.split(":")[0] for problem in problems], ["line 5", "line 7"])

    def test_a_page_can_be_written_anew(self):
        found = walk.steps(SAMPLE)
        again = walk.rewritten(SAMPLE, found, walk.run(found, dict(os.environ)))
        self.assertEqual(again, SAMPLE.replace("th…\n…\n", "three\n"))


class Page(unittest.TestCase):
    def test_it_has_commands_for_every_tier(self):
        tiers = {step.tier for step in walk.steps(PAGE.read_text())}
        self.assertEqual(tiers, set(walk.TIERS))

    @unittest.skipUnless(cluster.has_control_plane(), cluster.WITHOUT)
    def test_what_needs_no_nodes_does_what_the_page_shows(self):
        self.assertTrue(router.is_built(), router.WITHOUT)
        server = cluster.shared()
        for name in ("models", "modelway"):
            server.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=50s")
            self.addCleanup(
                server.kubectl, "delete", "namespace", name, "--ignore-not-found", "--wait=false"
            )
        # The page begins without the kind, and tests before this one may have left it.
        kind = ("crd", "inferenceendpoints.modelway.dev")
        server.kubectl("delete", *kind, "--ignore-not-found", "--timeout=50s")
        # What the page installs has no node to run on; these two play its part, from the beginning.
        folder = tempfile.TemporaryDirectory(prefix="modelway-walk.")
        self.addCleanup(folder.cleanup)
        pods = router.Pods(server.kubeconfig, "models")
        self.addCleanup(pods.stop)
        beside = router.Router(chart.objects(), server.kubeconfig, folder.name)
        self.addCleanup(beside.stop)
        tiers = ("api", "router")
        chosen = [step for step in walk.steps(PAGE.read_text()) if step.tier in tiers]
        self.assertGreater(len(chosen), 5)
        results = walk.run(chosen, walk.environment(server.kubeconfig))
        problems = walk.differences(chosen, results)
        self.assertEqual(problems, [], "\n\n".join(problems))


if __name__ == "__main__":
    unittest.main()
