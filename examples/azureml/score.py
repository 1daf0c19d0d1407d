"""A scoring script for Azure ML's inference server: what a model's author writes.

The server imports this file, calls `init()` once and `run()` for each `POST /score`. The model is
linear and small enough to read: the price of a flat from its size, rooms and distance to the centre.
"""

import json
import math

from azureml_inference_server_http.api.aml_response import AMLResponse

FEATURES = ("area_m2", "rooms", "distance_km")
MAX_ROWS = 1_000

model = None


class InvalidInput(ValueError):
    """The caller's fault: answered with 400 and these words."""


class LinearModel:
    """`intercept + Σ weight × feature`, in thousand euros."""

    def __init__(self, intercept, weights):
        self.intercept = intercept
        self.weights = weights

    def predict(self, row):
        return self.intercept + sum(w * x for w, x in zip(self.weights, row))


def init():
    """Loads the model. A real one reads its files from the folder in AZUREML_MODEL_DIR."""
    global model
    model = LinearModel(intercept=40.0, weights=(3.5, 12.0, -4.0))


def run(data):
    """Scores `{"rows": [{"area_m2": 70, "rooms": 3, "distance_km": 5}, …]}`."""
    try:
        rows = parse(data)
    except InvalidInput as error:
        return AMLResponse({"error": str(error)}, 400, json_str=True)
    return {"predictions": [round(model.predict(row), 3) for row in rows]}


def parse(data):
    """The rows as tuples in the order of FEATURES; raises InvalidInput."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error
    rows = body.get("rows") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InvalidInput('expected {"rows": [...]} with at least one row')
    if len(rows) > MAX_ROWS:
        raise InvalidInput(f"{len(rows)} rows, at most {MAX_ROWS} in one request")
    return [parse_row(number, row) for number, row in enumerate(rows)]


def parse_row(number, row):
    if not isinstance(row, dict):
        raise InvalidInput(f"row {number} is not an object")
    if unknown := sorted(set(row) - set(FEATURES)):
        raise InvalidInput(f"row {number} has unknown features: {', '.join(unknown)}")
    return tuple(parse_number(number, name, row.get(name)) for name in FEATURES)


def parse_number(number, name, value):
    # In Python, True is an int.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput(f"row {number}: {name} is not a number")
    try:
        if math.isfinite(float(value)):
            return float(value)
    except OverflowError:
        pass
    raise InvalidInput(f"row {number}: {name} is out of range")
