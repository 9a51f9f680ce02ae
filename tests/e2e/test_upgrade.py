"""The data directory of the release before starts under this one."""

from __future__ import annotations

from conftest import COLUMNS
from stack import wait_until
from tests.integration.postgres import previous_release

POLICY = {"min_new_rows": None, "budget_seconds": 5, "seed": 1, "gate": {"min_rows": 100}}
ROWS = [{"age": age, "income": 5000.0, "city": city} for age in (20, 45, 70) for city in ("Bern", "Genf", None)]


def test_the_data_directory_of_the_release_before(elsewhere, shoppers, tmp_path):
    """Its rows, version, log and keys are there, the served answers are the same, and the doctor is content."""
    now = elsewhere.python
    (tmp_path / "release").mkdir()
    packages = previous_release.unpack(tmp_path / "release", "deploy")
    elsewhere.python = previous_release.interpreter(tmp_path, packages)
    elsewhere.start()
    elsewhere.call("PUT", "/v1/datasets/kept", json={"columns": COLUMNS}, expect=201)
    elsewhere.call("PUT", "/v1/models/keeps", json={"dataset": "kept", "label": "bought", "policy": POLICY}, expect=201)
    elsewhere.call("POST", "/v1/datasets/kept/rows", json={"rows": shoppers.rows(800)}, expect=201)
    elsewhere.call("POST", "/v1/models/keeps/requests", json={}, expect=201)
    before = wait_until(lambda: elsewhere.answers("keeps", ROWS), seconds=120, what="an answer by the release before")
    logged = wait_until(lambda: _logged(elsewhere), seconds=30, what="its log")
    key = elsewhere.session.headers["Authorization"]
    assert elsewhere.stop() == 0

    elsewhere.python = now
    elsewhere.start()
    assert elsewhere.session.headers["Authorization"] == key
    after = wait_until(lambda: elsewhere.answers("keeps", ROWS), seconds=30, what="an answer by this release")
    assert after == before
    kept = wait_until(lambda: _logged(elsewhere, 2 * len(ROWS)), seconds=30, what="both in the log")
    assert kept[: len(logged)] == logged
    batch = elsewhere.call("POST", "/v1/datasets/kept/rows", json={"rows": shoppers.rows(10)}, expect=201)
    assert (batch["first_seq"], batch["last_seq"]) == (801, 810)
    elsewhere.recovered()


def _logged(stack, count=9):
    found = stack.items("/v1/predictions?model=keeps")
    return found if len(found) == count else None
