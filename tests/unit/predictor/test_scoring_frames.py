"""Data frames as MLflow's own client writes them: `to_dict`, `isoformat`, and Python's `json.dumps`."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.model import Predictor
from trainyard.testing.models import sample_model, sample_rows
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from conftest import World

MODEL = sample_model(seed=1)
ROWS = sample_rows(30, seed=8)


def as_the_client_writes(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as pandas holds it and MLflow's encoder writes it."""
    written = dict(row)
    for name in ("distance", "seats"):
        written[name] = math.nan if row[name] is None else float(row[name])
    written["day"] = "NaT" if row["day"] is None else datetime.fromisoformat(row["day"]).isoformat()
    written["planned"] = "NaT" if row["planned"] is None else datetime.fromisoformat(row["planned"]).isoformat()
    return written


def invoke(world: World, body: str) -> Any:
    """POST to /invocations; return the answer's JSON."""
    headers = {"host": "localhost", "authorization": f"Bearer {world.key}", "content-type": "application/json"}
    response = world.service.handler.handle(Request("POST", "/invocations", "", headers, body.encode()))
    return response.status, json.loads(response.body)


@pytest.mark.parametrize("shape", ["dataframe_split", "dataframe_records", "instances", "inputs"])
def test_what_the_client_writes_is_read_as_it_is_meant(world: World, shape: str) -> None:
    """Missing values as NaN and NaT, whole numbers as floats, dates as their midnight: the library's numbers."""
    rows = [as_the_client_writes(row) for row in ROWS]
    columns = list(rows[0])
    given: Any = rows
    if shape == "dataframe_split":
        given = {"index": [*range(len(rows))], "columns": columns, "data": [[*row.values()] for row in rows]}
    elif shape == "inputs":
        given = {name: [row[name] for row in rows] for name in columns}
    sent = json.dumps({shape: given})
    assert "NaN" in sent
    assert "NaT" in sent
    assert invoke(world, sent) == (200, {"predictions": [one.prediction for one in Predictor(MODEL).predict(ROWS)]})


@pytest.mark.parametrize(
    ("column", "value"),
    [("distance", "Infinity"), ("seats", "-Infinity"), ("day", '"2024-02-29T10:00:00"'), ("planned", '"2024-02-29"'),
     ("carrier", "[NaN]"), ("remark", "NaN1")],
)  # fmt: skip
def test_what_nobody_means_is_refused(world: World, column: str, value: str) -> None:
    """Infinities, a date with an hour, a time without one; nothing of it was logged."""
    status, said = invoke(world, f'{{"dataframe_records": [{{"{column}": {value}}}]}}')
    assert (status, set(said) - {"details"}) == (400, {"error_code", "message"})
    assert world.logged() == []


def test_a_text_may_be_nat(world: World) -> None:
    """Only in columns of dates and times does it mean that there is none."""
    assert invoke(world, '{"instances": [{"remark": "NaT", "day": "NaT"}]}')[0] == 200
    assert world.logged()[0]["inputs"] == {"remark": "NaT", "day": None}


def test_nan_is_no_json_elsewhere(world: World) -> None:
    """Our own protocol and the Open Inference Protocol go on refusing it."""
    assert world.ask("flights", b'{"rows": [{"distance": NaN}]}').status == 400
