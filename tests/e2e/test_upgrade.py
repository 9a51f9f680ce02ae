"""The data directory of the release before starts under this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from conftest import COLUMNS
from stack import Stack, wait_until

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "postgres"))

import previous_release

POLICY = {"min_new_rows": None, "budget_seconds": 5, "seed": 1, "gate": {"min_rows": 100}}
ROWS = [{"age": age, "income": 5000.0, "city": city} for age in (20, 45, 70) for city in ("Bern", "Genf", None)]


@pytest.fixture
def moving(tmp_path):
    """A data directory where nothing runs yet."""
    stack = Stack(tmp_path / "stack" / "data")
    yield stack
    if stack.process is not None and stack.process.poll() is None:
        assert stack.stop() == 0


def test_the_data_directory_of_the_release_before(moving, shoppers, tmp_path):
    """Its rows, version, log and keys are there, the served answers are the same, and the doctor is content."""
    now = moving.environment
    (tmp_path / "release").mkdir()
    packages = previous_release.unpack(tmp_path / "release", "deploy")
    moving.environment = {**now, "PYTHONPATH": os.pathsep.join(packages)}
    moving.start()
    moving.call("PUT", "/v1/datasets/kept", json={"columns": COLUMNS}, expect=201)
    moving.call("PUT", "/v1/models/keeps", json={"dataset": "kept", "label": "bought", "policy": POLICY}, expect=201)
    moving.call("POST", "/v1/datasets/kept/rows", json={"rows": shoppers.rows(800)}, expect=201)
    moving.call("POST", "/v1/models/keeps/requests", json={}, expect=201)
    before = wait_until(lambda: _predicted(moving), seconds=120, what="an answer by the release before")
    logged = wait_until(lambda: _logged(moving), seconds=30, what="its log")
    key = moving.session.headers["Authorization"]
    assert moving.stop() == 0

    moving.environment = now
    moving.start()
    assert moving.session.headers["Authorization"] == key
    after = wait_until(lambda: _predicted(moving), seconds=30, what="an answer by this release")
    assert [_said(row) for row in after["rows"]] == [_said(row) for row in before["rows"]]
    kept = wait_until(lambda: _logged(moving, 2 * len(ROWS)), seconds=30, what="both in the log")
    assert kept[: len(logged)] == logged
    batch = moving.call("POST", "/v1/datasets/kept/rows", json={"rows": shoppers.rows(10)}, expect=201)
    assert (batch["first_seq"], batch["last_seq"]) == (801, 810)
    assert wait_until(lambda: _healthy(moving), seconds=120, what="a healthy stack", every=2)


def _predicted(stack):
    response = stack.session.post(stack.ready["url"] + "/v1/predict/keeps", json={"rows": ROWS}, timeout=30)
    return response.json() if response.status_code == 200 else None


def _logged(stack, count=9):
    found = stack.items("/v1/predictions?model=keeps")
    return found if len(found) == count else None


def _said(row):
    return {name: value for name, value in row.items() if name != "prediction_id"}


def _healthy(stack):
    report = stack.doctor()
    return report if report["healthy"] else None
