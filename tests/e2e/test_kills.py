"""kill -9 of anything loses nothing and doubles nothing; the doctor has the last word."""

import pytest
from conftest import COLUMNS
from roads import QUICK, one_dies, requests_ended
from stack import Stack, wait_until


def test_the_emulator_dies_with_five_open_requests(stack, shoppers):
    """SQS forgets every message and EC2 every instance: all five requests finish, each exactly once."""
    stack.call("PUT", "/v1/datasets/five", json={"columns": COLUMNS})
    stack.call("POST", "/v1/datasets/five/rows", json={"rows": shoppers.rows(800)})
    models = [f"five_{number}" for number in range(5)]
    for model in models:
        stack.call("PUT", f"/v1/models/{model}", json={"dataset": "five", "label": "bought", "policy": QUICK})
        stack.call("POST", f"/v1/models/{model}/requests", json={}, expect=201)
    stack.kill_child("aws")
    requests = wait_until(lambda: requests_ended(stack, models), seconds=120, what="five ended requests")
    assert [request["state"] for request in requests] == ["done"] * 5
    assert [len(stack.items(f"/v1/models/{model}/versions")) for model in models] == [1] * 5
    report = stack.doctor()
    assert report["healthy"], report


@pytest.mark.parametrize(
    "name",
    [
        "postgres",
        "ingest",
        "ingest-worker",
        "scheduler",
        "scheduler-worker",
        "predictor",
        "router",
        "ec2host",
        "console",
    ],
)
def test_any_process_dies_while_rows_come_in_and_a_model_is_trained(stack, shoppers, name):
    """Rows sent with patience arrive once each, and the request that was open ends with one version."""
    one_dies(stack, shoppers, name)


def test_everything_dies_and_comes_back(tmp_path, shoppers):
    """kill -9 of the whole stack, emulator and Postgres included: a second `up` carries on with everything."""
    stack = Stack(tmp_path / "data", settings={"TRAINYARD_FLEET_MAX": "1"})
    stack.start()
    stack.call("PUT", "/v1/datasets/all", json={"columns": COLUMNS})
    stack.call("PUT", "/v1/models/all", json={"dataset": "all", "label": "bought", "policy": QUICK})
    stack.call("POST", "/v1/datasets/all/rows", json={"rows": shoppers.rows(600)})
    stack.call("POST", "/v1/models/all/requests", json={}, expect=201)
    wait_until(lambda: requests_ended(stack, ["all"]), seconds=60, what="the first version")
    stack.call("POST", "/v1/datasets/all/rows", json={"rows": shoppers.rows(400)})
    stack.call("POST", "/v1/models/all/requests", json={}, expect=201)
    stack.kill()

    stack.start()
    asked = {"rows": [{"age": 70, "income": 5000.0, "city": "Bern"}]}
    assert stack.call_patiently("POST", "/v1/predict/all", json=asked)["version"] >= 1
    requests = wait_until(lambda: requests_ended(stack, ["all"]), seconds=90, what="the open request ended")
    assert [request["state"] for request in requests] == ["done", "done"]
    assert len(stack.items("/v1/models/all/versions")) == 2
    assert stack.call("GET", "/v1/datasets/all")["rows"] == 1000
    report = stack.doctor()
    assert report["healthy"], report
    assert stack.stop() == 0
