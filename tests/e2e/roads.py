"""Roads that any stack is sent down: the main one, from rows to feedback, and the one on which something dies."""

from conftest import COLUMNS, as_csv

from trainyard.metrics import log_loss, roc_auc

QUICK = {"min_new_rows": None, "budget_seconds": 10, "kinds": ["linear"], "gate": {"min_rows": 50}}
_ENDED = {"done", "failed", "cancelled", "blocked_by_data"}
POLICY = {"min_new_rows": 600, "budget_seconds": 15, "seed": 1, "gate": {"min_rows": 100}}


def _versions(stack, model):
    return sorted(stack.items(f"/v1/models/{model}/versions"), key=lambda version: version["version"])


def whole_loop(stack, shoppers):
    """The threshold trains by itself, a useful model is promoted, a useless one is not, and labels come back."""
    stack.call("PUT", "/v1/datasets/loop", json={"columns": COLUMNS}, expect=201)
    stack.call("PUT", "/v1/models/buys", json={"dataset": "loop", "label": "bought", "policy": POLICY}, expect=201)
    stack.wait_until(lambda: _refused(stack, "buys") == (409, "no_model"), seconds=10, what="the predictor knows it")

    first = shoppers.rows(500)
    batch = stack.call("POST", "/v1/datasets/loop/rows", json={"rows": first}, expect=201)
    assert (batch["rows"], batch["rejected"], batch["first_seq"], batch["last_seq"]) == (500, 0, 1, 500)
    again = stack.call("POST", "/v1/datasets/loop/rows", json={"rows": first}, expect=200)
    assert again == batch, "the same rows again are the same batch"
    stack.wait_until(
        lambda: any("500 of 600" in d["reason"] for d in stack.items("/v1/models/buys/decisions")),
        seconds=15,
        what="a decision that says why nothing was trained",
    )
    assert stack.items("/v1/models/buys/requests") == []

    stack.outside("s3").put_object(
        Bucket=stack.ready["bucket"], Key="landing/loop/second file.csv", Body=as_csv(shoppers.rows(500))
    )
    version = stack.wait_until(lambda: _versions(stack, "buys"), seconds=60, what="the first version")[0]
    assert version["passed"], version["gate"]
    assert (version["upto_seq"], version["snapshot_rows"]) == (1000, 1000)
    (request,) = stack.items("/v1/models/buys/requests")
    assert (request["state"], request["reason"], request["attempt"]) == ("done", "min_new_rows", 1)

    unseen = shoppers.rows(400)
    asked = [{name: row[name] for name in ("age", "income", "city")} for row in unseen]
    answer = stack.wait_until(lambda: _predicted(stack, "buys", asked), seconds=10, what="an answer by version 1")
    assert answer["version"] == 1
    labels = [row["bought"] for row in unseen]
    scores = [row["probabilities"]["true"] for row in answer["rows"]]
    assert roc_auc(labels, scores) > 0.85

    ids = [row["prediction_id"] for row in answer["rows"]]
    given = [{"prediction_id": i, "label": label} for i, label in zip(ids, labels, strict=True)]
    assert stack.call("POST", "/v1/feedback", json={"items": given})["accepted"] == 400
    logged = stack.wait_until(lambda: _logged(stack, "buys", 400), seconds=20, what="all predictions in the log")
    assert {p["id"]: p["label"] for p in logged} == dict(zip(ids, labels, strict=True))
    (window,) = stack.call("GET", "/v1/models/buys/quality")["windows"]
    assert (window["version"], window["predictions"], window["labels"]) == (1, 400, 400)
    assert abs(window["metrics"]["log_loss"] - log_loss(labels, scores)) < 1e-9

    useless = shoppers.rows(700, shuffled=True)
    stack.call("POST", "/v1/datasets/loop/rows", data=as_csv(useless), headers={"Content-Type": "text/csv"}, expect=201)
    second = stack.wait_until(lambda: _versions(stack, "buys")[1:], seconds=60, what="the second version")[0]
    assert not second["passed"]
    assert stack.call("GET", "/v1/models/buys/aliases/champion")["version"] == 1

    costs = stack.wait_until(lambda: _costs_of(stack, "buys", runs=2), seconds=20, what="the cost of both runs")
    assert all(run["cost_usd"] > 0 for run in stack.items("/v1/runs?model=buys"))
    assert costs["total"]["instances_usd"] > 0

    report = stack.doctor()
    assert report["healthy"], report
    stack.wait_until(
        lambda: not [i for i in stack.call("GET", "/v1/fleet")["instances"] if i["state"] in {"pending", "running"}],
        seconds=40,
        what="a fleet of zero once there is nothing to do",
    )


def _refused(stack, model):
    response = stack.session.post(stack.ready["url"] + f"/v1/predict/{model}", json={"rows": [{}]}, timeout=30)
    return response.status_code, response.json()["error"]["code"]


def _predicted(stack, model, rows):
    response = stack.session.post(stack.ready["url"] + f"/v1/predict/{model}", json={"rows": rows}, timeout=30)
    assert response.status_code in {200, 409}, response.text
    return response.json() if response.status_code == 200 else None


def _costs_of(stack, model, runs):
    costs = stack.call("GET", "/v1/costs")
    mine = [row for row in costs["runs"] if row["model"] == model]
    priced = sum(row["runs"] - row["unpriced_runs"] for row in mine)
    return costs if priced == runs else None


def _logged(stack, model, count):
    found = stack.items(f"/v1/predictions?model={model}")
    return found if len(found) >= count else None


def one_dies(stack, shoppers, name):
    """Rows sent with patience arrive once each, and the request that was open ends with one version."""
    dataset = f"kill_{name.replace('-', '_')}"
    stack.call("PUT", f"/v1/datasets/{dataset}", json={"columns": COLUMNS})
    stack.call("PUT", f"/v1/models/{dataset}", json={"dataset": dataset, "label": "bought", "policy": QUICK})
    stack.call("POST", f"/v1/datasets/{dataset}/rows", json={"rows": shoppers.rows(600)})
    stack.call("POST", f"/v1/models/{dataset}/requests", json={}, expect=201)
    stack.kill_child(name)
    for _ in range(4):
        stack.call_patiently("POST", f"/v1/datasets/{dataset}/rows", json={"rows": shoppers.rows(100)})
    requests = stack.wait_until(lambda: requests_ended(stack, [dataset]), seconds=90, what="an ended request")
    assert [request["state"] for request in requests] == ["done"]
    assert len(stack.items(f"/v1/models/{dataset}/versions")) == 1
    assert stack.call_patiently("GET", f"/v1/datasets/{dataset}")["rows"] == 1000
    report = stack.doctor()
    assert report["healthy"], report


def emulator_dies(stack, shoppers, name):
    """The emulator of AWS is killed while two requests are open: each ends once, with one version."""
    columns = [{"name": "id", "type": "int", "role": "key"}, {"name": "age", "type": "int"}]
    label = {"name": "bought", "type": "bool", "role": "label"}
    stack.call("PUT", "/v1/datasets/open", json={"columns": [*columns, label]})
    rows = [{name: row[name] for name in ("id", "age", "bought")} for row in shoppers.rows(600)]
    stack.call("POST", "/v1/datasets/open/rows", json={"rows": rows})
    models = ["open_0", "open_1"]
    for model in models:
        stack.call("PUT", f"/v1/models/{model}", json={"dataset": "open", "label": "bought", "policy": QUICK})
        stack.call("POST", f"/v1/models/{model}/requests", json={}, expect=201)
    stack.kill_child(name)
    ended = stack.wait_until(lambda: requests_ended(stack, models), seconds=120, what="two ended requests")
    assert [request["state"] for request in ended] == ["done"] * 2
    assert [len(stack.items(f"/v1/models/{model}/versions")) for model in models] == [1] * 2
    report = stack.doctor()
    assert report["healthy"], report


def requests_ended(stack, models):
    """Return the training requests of the models once all of them have ended, else None."""
    requests = [request for model in models for request in stack.items(f"/v1/models/{model}/requests")]
    return requests if all(request["state"] in _ENDED for request in requests) else None
