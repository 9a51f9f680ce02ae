"""Every route of the scheduler over a real Postgres and the AWS emulator, as a client sees it."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from tests.integration.scheduler.calls import MODEL, Client, trained

from trainyard.adapters.aws.ensure import dead_letter_name
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.alias_object import alias_key, decode_alias, model_key
from trainyard.auth import KEYS_OBJECT
from trainyard.contracts.prediction_log import Prediction
from trainyard.contracts.queue import Outgoing
from trainyard.contracts.runs import Line
from trainyard.messages import TrainingRequest
from trainyard.model import Lineage, Linear, Model, Number, Pipeline, encode, with_golden
from trainyard.schema import Column, Schema
from trainyard.serving_object import ServedModel, encode_serving, serving_key
from trainyard_scheduler.use_cases.requests import request_of

if TYPE_CHECKING:
    from tests.integration.scheduler.warehouse import Warehouse

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.postgres.scheduling import PostgresStore
    from trainyard.config import Config


def test_model_is_made_changed_and_deleted(call: Client) -> None:
    """PUT creates, creates not again, changes the policy, refuses another label; DELETE forgets the name."""
    made = call("PUT", "/v1/models/late", 201, json=MODEL)
    assert (made["dataset"], made["label"], made["task"], made["champion"]) == ("flights", "late", "auto", None)
    assert made["policy"]["min_new_rows"] == 100
    assert call("PUT", "/v1/models/late", 200, json=MODEL) == made
    changed = call("PUT", "/v1/models/late", 200, json={**MODEL, "policy": {"min_new_rows": None}})
    assert changed["policy"]["min_new_rows"] is None
    refused = call("PUT", "/v1/models/late", 409, json={**MODEL, "label": "x"})
    assert "label is 'late', not 'x'" in refused["error"]["message"]
    assert [m["name"] for m in call("GET", "/v1/models")["items"]] == ["late"]
    call("DELETE", "/v1/models/late", 204)
    call("GET", "/v1/models/late", 404)
    call("PUT", "/v1/models/late", 201, json=MODEL)


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({**MODEL, "label": "nosuch"}, ["label"]),
        ({**MODEL, "label": "id"}, ["label"]),
        ({**MODEL, "task": "regression"}, ["label"]),
        ({**MODEL, "task": "binary", "policy": {"metric": "rmse"}}, ["policy.metric"]),
        ({**MODEL, "policy": {"metric": "rmse"}}, ["policy.metric"]),
        ({**MODEL, "policy": {"min_new_rows": 0, "what": 1, "gate": {"x": 1}}},
         ["policy.what", "policy.min_new_rows", "policy.gate.x"]),
        ({"dataset": 3, "label": None, "task": "x", "policy": []}, ["dataset", "label", "task", "policy"]),
    ],
)  # fmt: skip
def test_invalid_model_lists_every_problem(call: Client, body: dict[str, Any], places: list[str]) -> None:
    """A model that cannot be is refused with 422 and the place of every problem, and is not stored."""
    error = call("PUT", "/v1/models/late", 422, json=body)["error"]
    assert error["code"] == "invalid_model"
    assert [detail["column"] for detail in error["details"]] == places
    call("GET", "/v1/models/late", 404)


def test_bad_input_is_named(call: Client) -> None:
    """Unknown names, missing and unknown keys, bad cursors and ids get their code and never a 500."""
    for method, path, status, code, more in [
        ("PUT", "/v1/models/late", 404, "unknown_dataset", {"json": {**MODEL, "dataset": "nosuch"}}),
        ("PUT", "/v1/models/late", 400, "bad_request", {"json": {"label": "late"}}),
        ("PUT", "/v1/models/late", 400, "bad_request", {"json": {**MODEL, "more": 1}}),
        ("PUT", "/v1/models/late", 400, "empty_body", {"data": b""}),
        ("PUT", "/v1/models/late", 400, "bad_json", {"data": b'{"a": NaN}'}),
        ("PUT", "/v1/models/Bad", 422, "invalid_model", {"json": MODEL}),
        ("GET", "/v1/models/nosuch", 404, "unknown_model", {}),
        ("GET", "/v1/models/nosuch/versions", 404, "unknown_model", {}),
        ("POST", "/v1/models/nosuch/requests", 404, "unknown_model", {}),
        ("GET", "/v1/models?cursor=A!", 400, "bad_request", {}),
        ("GET", "/v1/models?limit=0", 400, "bad_request", {}),
        ("GET", "/v1/runs?cursor=1", 400, "bad_request", {}),
        ("GET", "/v1/runs?model=nosuch", 404, "unknown_model", {}),
        ("GET", "/v1/runs?state=failed", 400, "bad_request", {}),
        ("GET", "/v1/requests?model=nosuch", 404, "unknown_model", {}),
        ("GET", "/v1/requests?model=%00", 404, "unknown_model", {}),
        ("GET", "/v1/requests?foo=1", 400, "bad_request", {}),
        ("GET", "/v1/models/late/requests?model=late", 400, "bad_request", {}),
        ("GET", "/v1/fleet?x=1", 400, "bad_request", {}),
        ("GET", "/v1/doctor?all=true", 400, "bad_request", {}),
        ("POST", "/v1/models/late/requests?priority=5", 400, "bad_request", {}),
        ("GET", "/v1/runs/1", 404, "unknown_run", {}),
        ("POST", "/v1/runs/1/reproduce", 404, "unknown_run", {"json": {}}),
        ("GET", "/v1/requests/1", 404, "unknown_request", {}),
        ("GET", "/v1/audit?cursor=99999999999999999999", 400, "bad_request", {}),
        ("DELETE", "/v1/keys/nosuch", 404, "unknown_key", {}),
        ("DELETE", "/v1/keys/%00", 404, "unknown_key", {}),
        ("GET", "/v1/keys?cursor=%00", 400, "bad_request", {}),
        ("GET", "/v1/models/%00", 404, "unknown_model", {}),
        ("GET", "/v1/runs?model=%00", 404, "unknown_model", {}),
        ("POST", "/v1/models/late/rollback", 400, "bad_request", {"json": {"reason": "\0"}}),
        ("POST", "/v1/keys", 400, "bad_request", {"json": {"name": "", "scopes": ["all"], "expires_in_days": 0}}),
        ("GET", "/v1/nosuch", 404, "not_found", {}),
        ("POST", "/v1/models", 405, "method_not_allowed", {}),
    ]:
        assert call(method, path, status, **more)["error"]["code"] == code, path


def test_request_by_hand(call: Client, warehouse: Warehouse) -> None:
    """No rows: 409. Rows: one request for a snapshot, its settings over the policy's, cancelled once."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    refused = call("POST", "/v1/models/late/requests", 409)
    assert "has no rows yet" in refused["error"]["message"]
    last = warehouse.add(7)
    body = {"settings": {"seed": 5, "gate": {"min_rows": 3}}}
    made = call("POST", "/v1/models/late/requests", 201, json=body)
    assert (made["state"], made["upto_seq"], made["new_rows"], made["reason"]) == ("queued", last, 7, "by_hand")
    assert made["settings"]["seed"] == 5
    assert made["settings"]["gate"] == {"min_rows": 3, "min_improvement": 0.0}
    assert call("POST", "/v1/models/late/requests", 200) == made
    assert call("GET", f"/v1/requests/{made['id']}") == made
    assert call("GET", "/v1/models/late/requests")["items"] == [made]
    cancelled = call("POST", f"/v1/requests/{made['id']}/cancel")
    assert cancelled["state"] == "cancelled"
    assert call("POST", f"/v1/requests/{made['id']}/cancel") == cancelled
    call("POST", "/v1/models/late/requests", 422, json={"settings": {"min_new_rows": 5, "budget_seconds": 0}})


def test_requests_of_all_models(call: Client, warehouse: Warehouse) -> None:
    """Lists hold what single answers do, of one model or all, of one state or all, page by page."""
    made = []
    for number in range(3):
        warehouse.add(5)
        name = f"late_{number % 2}"
        call("PUT", f"/v1/models/{name}", 200 if number > 1 else 201, json=MODEL)
        made.insert(0, call("POST", f"/v1/models/{name}/requests", 201, json={"priority": number}))
    assert call("GET", "/v1/requests")["items"] == made
    assert call("GET", "/v1/models/late_0/requests")["items"] == [made[0], made[2]]
    gone = call("POST", f"/v1/requests/{made[1]['id']}/cancel")
    assert gone["outcome"] == "cancelled on request, while no trainer held it"
    assert call("GET", "/v1/requests?state=cancelled")["items"] == [gone]
    assert call("GET", "/v1/requests?state=queued&limit=10000") == {"items": [made[0], made[2]], "next_cursor": None}
    assert call("GET", "/v1/requests?model=late_0&limit=1") == {"items": made[:1], "next_cursor": made[0]["id"]}
    assert call("GET", "/v1/requests?model=late_1&state=queued")["items"] == []
    first = call("GET", "/v1/requests?limit=1")
    assert first == {"items": made[:1], "next_cursor": made[0]["id"]}
    rest = call("GET", f"/v1/requests?limit=2&cursor={first['next_cursor']}")
    assert [item["id"] for item in rest["items"]] == [made[1]["id"], made[2]["id"]]
    for query in ("state=asleep", "limit=10001", "limit=0", "cursor=x"):
        assert call("GET", f"/v1/requests?{query}", 400)["error"]["code"] == "bad_request"
    call("GET", "/v1/models/nosuch/requests?state=queued", 404)


def test_urgency_and_place(call: Client, warehouse: Warehouse) -> None:
    """A request takes them from its body, else from the policy; wrong ones are listed."""
    policy = {"min_new_rows": None, "priority": 2, "instance_types": ["g5.xlarge"], "max_age": "7d"}
    call("PUT", "/v1/models/late", 201, json={**MODEL, "policy": policy})
    assert call("GET", "/v1/models/late")["policy"]["max_age"] == 604_800
    warehouse.add(7)
    wrong = call("POST", "/v1/models/late/requests", 422, json={"priority": 101, "spot": 3, "settings": {"cron": None}})
    columns = [problem["column"] for problem in wrong["error"]["details"]]
    assert columns == ["settings.cron", "priority", "spot"]
    made = call("POST", "/v1/models/late/requests", 201, json={"priority": -1, "spot": False})
    assert (made["priority"], made["instance_types"], made["spot"]) == (-1, ["g5.xlarge"], False)
    assert (made["outcome"], made["version"], made["error_class"]) == (None, None, None)


def test_explain(call: Client, warehouse: Warehouse) -> None:
    """It says why a request waits, and who works on it, by the id of the request or of its run."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(7)
    made = call("POST", "/v1/models/late/requests", 201)
    path = f"/v1/requests/{made['id']}/explain"
    waiting = call("GET", path, key="read")
    assert (waiting["code"], waiting["queue"]["ahead"], waiting["message"]["unsent"]) == ("waiting_to_be_sent", 0, True)
    warehouse.claim(made["id"])
    (run,) = call("GET", "/v1/runs")["items"]
    held = call("GET", f"/v1/requests/{run['id']}/explain")
    assert (held["request_id"], held["code"], held["lease"]["holder"]) == (made["id"], "held_by_worker", "test")
    assert held["attempts"][0]["run_id"] == run["id"]
    warehouse.finish(made["id"])
    done = call("GET", path)
    assert (done["code"], done["sentence"]) == ("done", "it is done: version 1 came of it")
    call("GET", f"/v1/requests/{uuid.uuid4()}/explain", 404)


def test_the_outbox_s_age_is_a_metric(call: Client, warehouse: Warehouse) -> None:
    """How long the oldest message has waited can be alarmed on."""
    warehouse.add(3)
    said = call.send("GET", "/metrics").get_data(as_text=True)
    (line,) = [line for line in said.splitlines() if line.startswith("trainyard_outbox_oldest_seconds ")]
    assert float(line.split()[1]) > 0


def test_running_request_is_asked_to_stop(call: Client, store: PostgresStore, warehouse: Warehouse) -> None:
    """A request that a trainer holds is not taken away: its cancelling is noted; one that ended cannot be cancelled."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(7)
    made = call("POST", "/v1/models/late/requests", 201)
    with store.begin() as records:
        request = request_of(records, made["id"])
    warehouse.claim(request.id)
    asked = call("POST", f"/v1/requests/{made['id']}/cancel")
    assert (asked["state"], asked["cancel_requested"]) == ("running", True)
    warehouse.finish(request.id)
    call("POST", f"/v1/requests/{made['id']}/cancel", 409)
    (run,) = call("GET", "/v1/runs?model=late")["items"]
    assert (run["request_id"], run["version"], run["state"]) == (made["id"], 1, "done")
    assert call("GET", f"/v1/runs/{run['id']}") == run


def test_traffic(call: Client, store: PostgresStore, warehouse: Warehouse, engine: sa.Engine) -> None:
    """Predictions are counted once as they are logged, in the hour in which they were made, with their times."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    assert call("GET", "/v1/models/late/traffic")["total"]["predictions"] == 0
    now = datetime.now(UTC)

    def made(ident: int, model: str, latency: int | None, *, hours: int = 0) -> Prediction:
        at = now - timedelta(hours=hours)
        return Prediction(f"p{ident}", model, 1 + ident % 2, None, None, {}, {"prediction": True}, latency, at)

    predictions = [
        *(made(n, "late", 1_000) for n in range(97)),
        made(97, "late", 50_000),
        made(98, "late", None),
        made(99, "late", 7, hours=30),
        made(100, "other", 1),
    ]
    log = PostgresPredictionLog(engine)
    log.add(predictions[:60])
    log.add(predictions)
    found = call("GET", "/v1/models/late/traffic")
    assert (len(found["items"]), found["bucket_seconds"]) == (24, 3_600)
    assert found["total"]["versions"] == {"1": 50, "2": 49}
    assert sum(one["predictions"] for one in found["items"]) == found["total"]["predictions"] == 99
    assert found["total"]["p50_us"] == found["total"]["p95_us"] == pytest.approx(1_000, rel=0.05)
    assert found["total"]["p99_us"] == pytest.approx(50_000, rel=0.05)
    assert call("GET", "/v1/models/late/traffic?hours=100")["total"]["predictions"] == 99  # the model is younger
    call("GET", "/v1/models/late/traffic?hours=0", 400)
    call("GET", "/v1/models/none/traffic", 404)
    found = call("GET", "/v1/models/late/quality?predictions=10")["windows"]
    assert sum(one["predictions"] for one in found) == 10
    assert call("GET", "/v1/models/late/quality?predictions=0")["windows"] == []
    call("GET", "/v1/models/late/quality?predictions=many", 400)
    with store.begin() as records:
        assert records.upkeep.forget("traffic", older_than_seconds=86_400.0, keep_newest=0, limit=9) == 1
    assert call("GET", "/v1/models/late/traffic")["total"]["predictions"] == 99


def test_deployments_of_all_models(call: Client, store: PostgresStore, warehouse: Warehouse) -> None:
    """The moves of every model's aliases, newest first, each with its model; those of deleted models are not shown."""
    for name in ("late", "early"):
        call("PUT", f"/v1/models/{name}", 201, json=MODEL)
        warehouse.add(7)
        made = call("POST", f"/v1/models/{name}/requests", 201)
        warehouse.claim(made["id"])
        warehouse.finish(made["id"])
        call("PUT", f"/v1/models/{name}/aliases/shadow", json={"version": 1})
    newest = call("GET", "/v1/deployments?limit=1")
    assert [(one["model"], one["alias"], one["version"]) for one in newest["items"]] == [("early", "shadow", 1)]
    rest = call("GET", f"/v1/deployments?cursor={newest['next_cursor']}")["items"]
    assert ("late", "shadow") in [(one["model"], one["alias"]) for one in rest]
    call("DELETE", "/v1/models/early", 204)
    assert {one["model"] for one in call("GET", "/v1/deployments")["items"]} == {"late"}
    call("GET", "/v1/deployments?cursor=x", 400)


def test_overview(call: Client, store: PostgresStore, warehouse: Warehouse, engine: sa.Engine) -> None:
    """The first models by name; of each what is newest, and how many labels and predictions there are."""
    call("PUT", "/v1/models/early", 201, json=MODEL)
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(7)
    made = call("POST", "/v1/models/late/requests", 201)
    warehouse.claim(made["id"])
    warehouse.finish(made["id"])
    call("PUT", "/v1/models/late/aliases/champion", json={"version": 1})
    now = datetime.now(UTC)
    log = PostgresPredictionLog(engine)
    log.add([Prediction(f"p{n}", "late", 1, None, None, {}, {"prediction": True}, 500, now) for n in range(5)])
    warehouse.label("late", "p1")
    early, late = call("GET", "/v1/overview")["items"]
    assert (early["model"], early["version"], early["drift"], early["alarm"]) == (
        call("GET", "/v1/models/early"), None, None, None,
    )  # fmt: skip
    assert late["version"] == call("GET", "/v1/models/late/versions/1")
    assert (late["labels"], late["traffic"]["total"]["predictions"]) == (1, 5)
    assert [one["model"]["name"] for one in call("GET", "/v1/overview?limit=1")["items"]] == ["early"]
    call("GET", "/v1/overview?limit=21", 400)


def test_what_a_run_said(call: Client, store: PostgresStore, warehouse: Warehouse) -> None:
    """Its lines, newest first, page by page; a run without any has none."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(7)
    made = call("POST", "/v1/models/late/requests", 201)
    warehouse.claim(made["id"])
    (run,) = call("GET", "/v1/runs?model=late")["items"]
    path = f"/v1/runs/{run['id']}/logs"
    assert call("GET", path) == {"items": [], "next_cursor": None}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    lines = [Line(1, at, "info", "trainer", "run.started"), Line(2, at, "warning", "training", "it is slow")]
    warehouse.say(run["id"], lines)
    newest = call("GET", f"{path}?limit=1")
    assert newest["items"] == [
        {
            "number": 2,
            "at": at.isoformat(timespec="microseconds"),
            "level": "warning",
            "source": "training",
            "text": "it is slow",
        }
    ]
    assert [line["text"] for line in call("GET", f"{path}?cursor={newest['next_cursor']}")["items"]] == ["run.started"]
    call("GET", f"{path}?cursor=x", 400)
    call("GET", "/v1/runs/1/logs", 404)


def test_reproduce_a_version(call: Client, store: PostgresStore, warehouse: Warehouse) -> None:
    """A run's version is asked for again; once is enough; its rows gone, nothing can be asked."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(7)
    made = call("POST", "/v1/models/late/requests", 201)
    warehouse.claim(made["id"])
    warehouse.finish(made["id"])
    (run,) = call("GET", "/v1/runs?model=late")["items"]
    assert (run["environment"], run["reproduction"]) == (None, None)
    asked = call("POST", f"/v1/runs/{run['id']}/reproduce", 201)
    assert (asked["reason"], asked["reproduces"], asked["upto_seq"]) == ("reproduce", 1, 0)
    assert call("POST", f"/v1/runs/{run['id']}/reproduce", json={})["id"] == asked["id"]
    assert call("GET", "/v1/models/late/requests?state=queued")["items"] == [asked]
    call("POST", f"/v1/requests/{asked['id']}/cancel")
    warehouse.rows_went(1)
    assert "erased" in call("POST", f"/v1/runs/{run['id']}/reproduce", 409)["error"]["message"]
    with store.begin() as records:
        assert records.requests.standing(1, labels=True).refused is None


def test_cancelled_request_whose_trainer_vanished(call: Client, warehouse: Warehouse, engine: sa.Engine) -> None:
    """It needs no other trainer: asking again ends it, and its run with it; so does the end of the model."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    for ends_it in (("POST", "/v1/requests/{}/cancel", 200), ("DELETE", "/v1/models/late", 204)):
        warehouse.add(10)
        asked = call("POST", "/v1/models/late/requests", 201)
        warehouse.claim(asked["id"])
        assert call("POST", f"/v1/requests/{asked['id']}/cancel")["state"] == "running"
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE core.training_request SET lease_until = now() - interval '1 second'"))
        (run,) = [run for run in call("GET", "/v1/runs")["items"] if run["request_id"] == asked["id"]]
        method, path, status = ends_it
        call(method, path.format(asked["id"]), status)
        assert call("GET", f"/v1/requests/{asked['id']}")["state"] == "cancelled"
        ended = call("GET", f"/v1/runs/{run['id']}")
        assert (ended["state"], ended["ended_at"] is None) == ("lost", False)


def test_same_idempotency_key(call: Client, warehouse: Warehouse) -> None:
    """The same key gives the same answer, another body 422; a key's secret is not kept for the repeat."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(7)
    headers = {"Idempotency-Key": "once"}
    first = call.send("POST", "/v1/models/late/requests", headers=headers)
    again = call.send("POST", "/v1/models/late/requests", headers=headers)
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert first.status_code == 201
    call("POST", "/v1/models/late/requests", 422, headers=headers, json={"settings": {}})
    call("POST", "/v1/models/late/requests", 400, headers={"Idempotency-Key": "x" * 256})
    body = {"name": "me", "scopes": ["read"]}
    made = call("POST", "/v1/keys", 201, headers=headers, json=body)
    repeated = call("POST", "/v1/keys", 201, headers=headers, json=body)
    assert made["key"].startswith(f"ty_{made['id']}_")
    assert repeated == {**made, "key": None}


def test_approval(call: Client, store: PostgresStore, warehouse: Warehouse) -> None:
    """A version that waits says so; approved it is champion, once; the second was judged against no champion: 409."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    for _ in range(2):
        trained(call, store, warehouse, waits=True)
    one, two = (f"/v1/models/late/versions/{number}" for number in (1, 2))
    assert call("GET", one)["state"] == "pending_approval"
    for body in ({}, {"approve": "yes"}, {"approve": True, "reason": 5}):
        call("POST", f"{one}/approve", 400, json=body)
    call("POST", "/v1/models/late/versions/3/approve", 404, json={"approve": True})
    decided = call("POST", f"{one}/approve", json={"approve": True, "reason": "seen"})
    assert (decided["state"], decided["aliases"]) == ("approved", ["champion"])
    assert (decided["approval"]["reason"], decided["approval"]["champion_seq"]) == ("seen", 0)
    assert call("GET", one) == decided
    call("POST", f"{one}/approve", 409, json={"approve": True})
    moved = call("POST", f"{two}/approve", 409, json={"approve": True})
    assert "trainyard promote late 2" in moved["error"]["message"]
    assert call("POST", f"{two}/approve", json={"approve": False})["state"] == "rejected"
    assert call("GET", "/v1/models/late")["champion"] == 1


def test_a_model_file_becomes_a_version(call: Client, settings: Config, aws_clients: AwsClients) -> None:
    """It is stored under its hash, registered once, serves when promoted; what does not fit is refused."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    data, kind = imported_model(), {"Content-Type": "application/vnd.trainyard.model"}
    path = "/v1/models/late/versions"
    made = call("POST", path, 201, data=data, headers=kind, key="operate")
    sha256 = hashlib.sha256(data).hexdigest()
    assert (made["version"], made["sha256"], made["size_bytes"], made["passed"]) == (1, sha256, len(data), False)
    assert (made["request_id"], made["run_id"], made["gate"]["imported"]["library"]) == (None, None, "xgboost")
    assert made["not_reproducible"] == "it was imported, not trained here"
    assert call("POST", path, 200, data=data, headers={**kind, "Idempotency-Key": str(uuid.uuid4())}) == made
    assert call("GET", path)["items"] == [made]
    blobs = S3Blobs(aws_clients.s3, settings.bucket)
    assert blobs.get(made["artifact_key"]).data == data
    call("PUT", "/v1/models/late/aliases/champion", 200, json={"version": 1})
    assert decode_alias(blobs.get(alias_key("late", "champion")).data).sha256 == sha256
    assert call("GET", f"{path}/1/report")["run"] is None
    card = call.send("GET", f"{path}/1/report?format=markdown").get_data(as_text=True)
    assert "imported from" in card
    assert "gives the same bytes" not in card
    found = {check["id"] for check in call("GET", "/v1/doctor")["checks"] if check["problems"]}
    assert found <= {"I5"}  # nobody takes messages here
    for status, code, more in (
        (403, "wrong_scope", {"data": data, "headers": kind, "key": "read"}),
        (415, "unsupported_media", {"data": data}),
        (400, "empty_body", {"data": b"", "headers": kind}),
        (422, "invalid_artifact", {"data": data[:-1], "headers": kind}),
        (422, "invalid_artifact", {"data": imported_model("other"), "headers": kind}),
    ):
        assert call("POST", path, status, **more)["error"]["code"] == code
    call("POST", "/v1/models/nosuch/versions", 404, data=data, headers=kind)
    assert call("GET", path)["items"][0]["version"] == 1


def imported_model(name: str = "late") -> bytes:
    """Return a model file of the dataset ``flights`` that says it was imported."""
    lineage = Lineage("flights", 0, 0, "0" * 64, {"imported": {"library": "xgboost"}}, "0", 0, {})
    pipeline = Pipeline((Number("x", 0.0),), Linear(np.array([[2.0]]), np.array([0.5]), "sigmoid"))
    bare = Model(name, "binary", Schema([Column("x", "float")]), pipeline, (False, True), lineage)
    return encode(with_golden(bare, [{"x": 1.0}, {"x": None}]))


def test_promotion_and_rollback(call: Client, store: PostgresStore, warehouse: Warehouse) -> None:
    """Aliases move by compare-and-set, previous follows, rollback returns; deployments say who served when."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    alias = "/v1/models/late/aliases/champion"
    assert [trained(call, store, warehouse) for _ in range(2)] == [1, 2]
    call("GET", alias, 404)
    call("POST", "/v1/models/late/rollback", 409)
    call("PUT", alias, 404, json={"version": 3})
    call("PUT", alias, 400, json={"version": "1"})
    call("PUT", "/v1/models/late/aliases/Bad", 400, json={"version": 1})
    first = call("PUT", alias, json={"version": 1, "expected_seq": 0})
    assert (first["version"], first["seq"]) == (1, 1)
    call("PUT", alias, 409, json={"version": 2, "expected_seq": 7})
    second = call("PUT", alias, json={"version": 2, "expected_seq": 1, "reason": "better"})
    assert (second["version"], second["seq"]) == (2, 2)
    assert call("PUT", alias, json={"version": 2}) == second
    between = call("GET", "/v1/models/late/deployments")["items"][0]["at"]
    back = call("POST", "/v1/models/late/rollback", json={"reason": "worse after all"})
    assert (back["version"], back["seq"]) == (1, 3)
    call("GET", "/v1/models/late/aliases?limit=0", 400)
    call("GET", "/v1/models/late/aliases?cursor=%00", 400)
    names = {a["name"]: a["version"] for a in call("GET", "/v1/models/late/aliases")["items"]}
    assert names == {"champion": 1, "previous": 2}
    assert call("GET", "/v1/models/late")["champion"] == 1
    assert call("GET", "/v1/models/late/versions/2")["aliases"] == ["previous"]
    assert call("GET", "/v1/models/late/versions/2")["not_reproducible"] is None
    assert [v["version"] for v in call("GET", "/v1/models/late/versions")["items"]] == [2, 1]
    then = call("GET", "/v1/models/late/deployments", query_string={"at": between})["items"]
    assert {d["alias"]: d["version"] for d in then} == {"champion": 2, "previous": 1}
    assert call("GET", "/v1/models/late/deployments?at=2020-01-01T00:00:00Z")["items"] == []
    call("GET", "/v1/models/late/deployments?at=yesterday", 400)
    for at in ("2020-01-01T00:00:00+01:00", "2020-01-01 00:00", "2020-01-01"):
        assert call("GET", f"/v1/models/late/deployments?at={at}")["items"] == []
    call("DELETE", alias, 204)
    call("DELETE", alias, 404)
    assert call("PUT", alias, json={"version": 2})["seq"] == 4


def test_a_challengers_share_and_who_serves(
    call: Client, store: PostgresStore, warehouse: Warehouse, aws_clients: AwsClients, aws_config: Config
) -> None:
    """The share stands in the alias's object on S3; what a predictor says of itself stands with the deployments."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    trained(call, store, warehouse)
    blobs, alias = S3Blobs(aws_clients.s3, aws_config.bucket), "/v1/models/late/aliases/challenger"
    for weight in ("0.1", 1.5, -0.1, True, None):
        call("PUT", alias, 200 if weight is None else 400, json={"version": 1, "weight": weight})
    assert call("PUT", alias, json={"version": 1, "weight": 0.25})["weight"] == 0.25
    published = decode_alias(blobs.get(alias_key("late", "challenger")).data)
    assert (published.version, published.weight) == (1, 0.25)
    call("PUT", "/v1/models/late/aliases/champion", 400, json={"version": 1, "weight": 0.5})
    assert call("GET", "/v1/models/late/deployments")["serving"] == []
    said = [ServedModel("late", "challenger", 1, published.seq, None), ServedModel("early", "champion", 1, 1, None)]
    blobs.put(serving_key("test", "here-1"), encode_serving(said))
    (found,) = call("GET", "/v1/models/late/deployments?limit=1")["serving"]
    assert (found["environment"], found["process"], found["asked"]) == ("test", "here-1", "challenger")
    assert (found["version"], found["seq"], found["refused"]) == (1, published.seq, None)
    everything = call("GET", "/v1/serving", key="read")["items"]
    assert [(one["model"], one["asked"]) for one in everything] == [("early", "champion"), ("late", "challenger")]


def test_alias_of_a_name_that_was_used_before(call: Client, store: PostgresStore, warehouse: Warehouse) -> None:
    """The seq goes on where the deleted model of that name ended, or readers would take the object for an old one."""
    seqs = []
    for _ in range(2):
        call("PUT", "/v1/models/late", 201, json=MODEL)
        version = trained(call, store, warehouse)
        seqs.append(call("PUT", "/v1/models/late/aliases/champion", json={"version": version})["seq"])
        call("DELETE", "/v1/models/late", 204)
    assert seqs == [1, 2]


def test_scopes(call: Client) -> None:
    """A reader reads and no more, but learns what its own key may; keys and the audit log are the admin's."""
    call("GET", "/v1/models", key="read")
    assert [call("GET", "/v1/keys/self", key=key)["scopes"] for key in ("read", "operate")] == [["read"], ["operate"]]
    for method, path in [("PUT", "/v1/models/late"), ("POST", "/v1/models/late/requests")]:
        assert call(method, path, 403, key="read", json={})["error"]["code"] == "wrong_scope"
    for method, path in [
        ("DELETE", "/v1/models/late"),
        ("GET", "/v1/keys"),
        ("GET", "/v1/audit"),
        ("GET", "/v1/doctor"),
    ]:
        call(method, path, 403, key="operate")


def test_keys_are_listed_and_revoked(call: Client) -> None:
    """The list shows no secret; a revoked key is marked; a key does not revoke itself."""
    made = call("POST", "/v1/keys", 201, json={"name": "me", "scopes": ["read", "predict"], "expires_in_days": 1})
    listed = {key["id"]: key for key in call("GET", "/v1/keys")["items"]}
    assert listed[made["id"]] == {name: value for name, value in made.items() if name != "key"}
    assert made["scopes"] == ["predict", "read"]
    call("DELETE", f"/v1/keys/{made['id']}", 204)
    call("DELETE", f"/v1/keys/{made['id']}", 204)
    listed = {key["id"]: key for key in call("GET", "/v1/keys")["items"]}
    assert listed[made["id"]]["revoked_at"] is not None
    (admin,) = [ident for ident, key in listed.items() if key["name"] == "admin"]
    for own in (admin, "self"):
        assert call("DELETE", f"/v1/keys/{own}", 409)["error"]["code"] == "conflict"


def test_pages(call: Client, warehouse: Warehouse) -> None:
    """Following the cursors shows everything once."""
    for number in range(5):
        call("PUT", f"/v1/models/m{number}", 201, json=MODEL)
    warehouse.add(1)
    for path, count in [("/v1/models", 5), ("/v1/audit", 8)]:
        seen: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = call("GET", path, query_string={"limit": 2, **({"cursor": cursor} if cursor else {})})
            seen += page["items"]
            cursor = page["next_cursor"]
        assert len(seen) == count
        assert len({str(item) for item in seen}) == count


def test_live_quality(call: Client, engine: sa.Engine) -> None:
    """Predictions and the latest label of each give metrics by version; unlabelled ones only count."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    with engine.begin() as connection:
        for number, (version, p, label) in enumerate(
            [(1, 0.9, "true"), (1, 0.2, "false"), (1, 0.6, "false"), (1, 0.4, None), (2, 0.9, "true")]
        ):
            output = {"prediction": p > 0.5, "probabilities": {"true": p, "false": 1 - p}}
            connection.execute(
                sa.text(
                    "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at) VALUES"
                    " (:id, 'late', :version, '{}', CAST(:output AS jsonb), now())"
                ),
                {"id": f"p{number}", "version": version, "output": json.dumps(output)},
            )
            for given in ["true", label] if label == "false" else [label] if label else []:
                connection.execute(
                    sa.text("INSERT INTO core.feedback (prediction_id, label) VALUES (:id, CAST(:label AS jsonb))"),
                    {"id": f"p{number}", "label": given},
                )
    newest, oldest = call("GET", "/v1/models/late/quality")["windows"]
    assert (oldest["version"], oldest["predictions"], oldest["labels"]) == (1, 4, 3)
    assert oldest["metrics"]["roc_auc"] == 1.0
    assert oldest["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert oldest["metrics"]["log_loss"] == pytest.approx(0.4149316, abs=1e-6)
    assert (newest["version"], newest["labels"], "roc_auc" in newest["metrics"]) == (2, 1, False)


def logged(engine: sa.Engine, ident: str, output: str, label: str) -> None:
    """Log a prediction of version 1 and its label, both as JSON."""
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at) VALUES"
                " (:id, 'late', 1, '{}', CAST(:output AS jsonb), clock_timestamp())"
            ),
            {"id": ident, "output": output},
        )
        connection.execute(
            sa.text("INSERT INTO core.feedback (prediction_id, label) VALUES (:id, CAST(:label AS jsonb))"),
            {"id": ident, "label": label},
        )


def test_quality_of_a_label_at_the_end_of_the_float_range(call: Client, engine: sa.Engine) -> None:
    """A squared error that is no number any more is left out; the other metrics are there."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    logged(engine, "p", '{"prediction": 1.0}', "1e300")
    (window,) = call("GET", "/v1/models/late/quality")["windows"]
    assert window["metrics"] == {"mae": 1e300}


def test_quality_of_a_name_that_was_used_before(call: Client, engine: sa.Engine) -> None:
    """Version 1 of a deleted model has nothing to do with version 1 of the model that has its name now."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    logged(engine, "old", '{"prediction": "a", "probabilities": {"a": 1.0, "b": 0.0}}', '"a"')
    call("DELETE", "/v1/models/late", 204)
    call("PUT", "/v1/models/late", 201, json=MODEL)
    logged(engine, "new", '{"prediction": 3.0}', "5.0")
    (window,) = call("GET", "/v1/models/late/quality")["windows"]
    assert (window["predictions"], window["metrics"]) == (1, {"rmse": 2.0, "mae": 2.0})


def test_costs(call: Client, warehouse: Warehouse) -> None:
    """Costs are shown by day for the last 30 days or the days that are named; days that cannot be are refused."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(1)
    request = call("POST", "/v1/models/late/requests", 201)
    warehouse.claim(request["id"])
    warehouse.finish(request["id"])
    found = call("GET", "/v1/costs")
    (row,) = found["runs"]
    assert (row["model"], row["runs"], row["cost_usd"], row["unpriced_runs"]) == ("late", 1, None, 1)
    assert found["total"] == {"runs_usd": None, "unpriced_runs": 1, "instances_usd": 0, "hours": 0}
    nothing = call("GET", "/v1/costs?from=2026-01-01&upto=2026-01-31")
    assert (nothing["runs"], nothing["total"]["runs_usd"]) == ([], 0)
    for query in ("from=2026-02-30", "upto=today", "from=2026-02-01&upto=2026-01-01", "from=2020-01-01", "to=x"):
        call("GET", f"/v1/costs?{query}", 400)
    (run,) = call("GET", "/v1/runs")["items"]
    assert (run["cost_usd"], run["instance_type"]) == (None, None)


def test_fleet_and_queues(call: Client, warehouse: Warehouse) -> None:
    """The fleet shows what is open, the queues their numbers and those of their dead letters."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(1)
    call("POST", "/v1/models/late/requests", 201)
    fleet = call("GET", "/v1/fleet")
    assert (fleet["state"], fleet["open_requests"], fleet["desired"], fleet["max"]) == ("launching", 1, 1, 2)
    assert (fleet["instances"], fleet["launches"], fleet["cap"]) == ([], [], None)
    assert fleet["today"] == {"hours": 0, "max_hours": 48, "usd": 0, "max_usd": 50, "unpriced_hours": 0}
    (pool,) = fleet["pools"]
    assert (pool["state"], pool["open"], pool["desired"], pool["error"]) == ("launching", 1, 1, None)
    queues = call("GET", "/v1/queues")["queues"]
    assert [queue["name"] for queue in queues] == ["training", "arrived", "objects", "predictions", "batch"]
    assert queues[0].pop("oldest_seconds") >= 0
    assert queues[0] == {"name": "training", "visible": 0, "in_flight": 0, "delayed": 0, "dead": 0}
    assert queues[1]["oldest_seconds"] is None


def _bury(settings: Config, clients: AwsClients, body: str) -> None:
    """Put a message where the training queue's dead letters are, as five receives would."""
    queue = SqsQueue(clients.sqs, dead_letter_name(settings.queue_training))
    assert queue.send([Outgoing("TrainingRequest", body)]) == []


def test_dead_letters_are_shown_and_sent_back(
    call: Client, warehouse: Warehouse, settings: Config, aws_clients: AwsClients
) -> None:
    """Looking keeps them and says why; sending them back moves each once, however often the same call is made."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(1)
    request = call("POST", "/v1/models/late/requests", 201)
    _bury(settings, aws_clients, TrainingRequest(request["id"]).outgoing().body)
    _bury(settings, aws_clients, "rubbish")
    shown = {letter["cause"]: letter for letter in call("GET", "/v1/queues/training/dead", key="read")["items"]}
    assert shown["request_open"]["request"] == {"id": request["id"], "model": "late", "state": "queued"}
    assert (shown["unreadable"]["preview"], shown["unreadable"]["request"]) == ("rubbish", None)
    assert len(call("GET", "/v1/queues/training/dead")["items"]) == 2

    body = {"queue": "training", "limit": 10}
    once = {"Idempotency-Key": "again"}
    done = call("POST", "/v1/queues/dlq/redrive", key="operate", json=body, headers=once)
    assert done == {"queue": "training", "moved": 2, "kept": 0, "left": 0, "background": False}
    assert call("POST", "/v1/queues/dlq/redrive", key="operate", json=body, headers=once) == done
    assert call("GET", "/v1/queues")["queues"][0]["visible"] == 2
    (entry,) = [e for e in call("GET", "/v1/audit")["items"] if e["action"] == "queue.redrive"]
    assert entry["subject"] == "queue/training"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"queue": "trains"}, (404, "unknown_queue")),
        ({"queue": 7}, (400, "bad_request")),
        ({"queue": "training", "limit": 0}, (400, "bad_request")),
        ({"queue": "training", "limit": True}, (400, "bad_request")),
        ({"queue": "training", "limit": 501}, (400, "bad_request")),
        ({"queue": "training", "purge": True}, (400, "bad_request")),
        ({}, (400, "bad_request")),
    ],
)
def test_impossible_redrives(call: Client, body: dict[str, Any], code: tuple[int, str]) -> None:
    """What cannot be sent back is refused with a reason, and so is a key that may only read."""
    refused = call("POST", "/v1/queues/dlq/redrive", code[0], json=body)
    assert refused["error"]["code"] == code[1]
    assert call("POST", "/v1/queues/dlq/redrive", 403, key="read", json=body)["error"]["code"] == "wrong_scope"


@pytest.mark.parametrize("limit", ["0", "101", "x", "-1", "1e3"])
def test_impossible_looks(call: Client, limit: str) -> None:
    """A limit that cannot be, or a queue that there is not, is refused."""
    assert call("GET", f"/v1/queues/training/dead?limit={limit}", 400)["error"]["code"] == "bad_request"
    assert call("GET", "/v1/queues/nothing/dead", 404)["error"]["code"] == "unknown_queue"


def test_events_stream(call: Client) -> None:
    """A stream gives the events behind Last-Event-ID in order, and ends its connection when it is closed."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    call("PUT", "/v1/models/late", 200, json={**MODEL, "policy": {"min_new_rows": 5}})
    answer = call.send("GET", "/v1/events", headers={"Last-Event-ID": "0"}, buffered=False)
    text = b""
    for chunk in answer.iter_encoded():
        text += chunk
        if b"model.changed" in text:
            break
    answer.close()
    assert answer.mimetype == "text/event-stream"
    assert text.index(b"event: model.created") < text.index(b"event: model.changed")
    assert b'"subject":"model/late"' in text
    call("GET", "/v1/events", 400, headers={"Last-Event-ID": "x"})


def test_events_stream_of_another_database(call: Client) -> None:
    """A reader that saw more events than there are, before the data directory was made anew, gets those from now on."""
    answer = call.send("GET", "/v1/events", headers={"Last-Event-ID": "999999"}, buffered=False)
    call("PUT", "/v1/models/late", 201, json=MODEL)
    heard = answer.iter_encoded()
    assert any(b"event: model.created" in next(heard) for _ in range(3))
    answer.close()


def test_streams_are_bounded(call: Client) -> None:
    """More streams than there are places get 503 until one is closed."""
    streams = [call.send("GET", "/v1/events", buffered=False) for _ in range(4)]
    call("GET", "/v1/events", 503)
    streams[0].close()
    streams[0] = call.send("GET", "/v1/events", buffered=False)
    assert streams[0].status_code == 200
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/keys?cursor=%00", 400),
        ("DELETE", "/v1/keys/a%00b", 404),
        ("GET", "/v1/models?limit=00000000199999", 400),
        ("GET", "/v1/models?limit=000000009999999999999999999999", 400),
        ("GET", "/v1/models/late/deployments?at=2026-01-01T00:00:00%2B00:00:01.5", 200),
        ("GET", "/v1/models/late/deployments?at=0001-01-01T00:00:00%2B23:59", 400),
        ("GET", "/v1/models/late/deployments?at=9999-12-31T23:59:59-23:59", 400),
        ("GET", "/v1/models/late/versions?cursor=9223372036854775807", 200),
        ("GET", "/v1/models/late/versions/99999999999999999999999999", 404),
        ("POST", "/v1/models/a%00b/requests", 404),
        ("POST", "/v1/requests/a%00b/cancel", 404),
    ],
)
def test_odd_values_are_refused_not_stumbled_over(call: Client, method: str, path: str, status: int) -> None:
    """NUL characters, padded and endless numbers and times at the edge of the calendar are never a 500."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    headers = {"Idempotency-Key": "k"} if method == "POST" else {}
    call(method, path, status, headers=headers)


@pytest.mark.parametrize("number", [-0.0, 1e-7, 5, 1e12])
def test_audit_log_is_whole_whatever_the_numbers(call: Client, number: float) -> None:
    """A number that the database writes in another way is no forgery."""
    call("PUT", "/v1/models/late", 201, json={**MODEL, "policy": {"gate": {"min_improvement": number}}})
    checks = {check["id"]: check["problems"] for check in call("GET", "/v1/doctor")["checks"]}
    assert checks["I9"] == []


def test_who_made_a_model_is_answered_when_others_can_see_it(
    call: Client, settings: Config, store: PostgresStore, warehouse: Warehouse, aws_clients: AwsClients
) -> None:
    """The objects of a new model, of a moved alias and of a new key stand when the answer comes."""
    blobs = S3Blobs(aws_clients.s3, settings.bucket)
    call("PUT", "/v1/models/late", 201, json=MODEL)
    assert blobs.get(model_key("late")).data == b""
    call("PUT", "/v1/models/late/aliases/champion", json={"version": trained(call, store, warehouse)})
    assert decode_alias(blobs.get(alias_key("late", "champion")).data).version == 1
    made = call("POST", "/v1/keys", 201, json={"name": "me", "scopes": ["read"]})
    assert made["id"].encode() in blobs.get(KEYS_OBJECT).data


def test_no_change_fails_because_it_cannot_be_shown(call: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that is committed is answered as such, whatever goes wrong when its objects are written."""

    def fault(_self: S3Blobs, _prefix: str) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(S3Blobs, "list", fault)
    call("PUT", "/v1/models/late", 201, json=MODEL)
    call("GET", "/v1/models/late", 200)


def test_the_report_of_a_version(call: Client, store: PostgresStore, warehouse: Warehouse) -> None:
    """JSON with model, version, run, trials and report; the same as a page or Markdown by Accept or by ``format``."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    warehouse.add(10)
    asked = call("POST", "/v1/models/late/requests", 201)
    warehouse.claim(asked["id"])
    report = {"form": 1, "task": "binary", "rows": 2, "confidence": 0.95, "samples": 400, "metrics": {}}
    number = warehouse.finish(asked["id"], report=report)
    path = f"/v1/models/late/versions/{number}/report"
    found = call("GET", path, key="read")
    assert found["report"] == report
    assert found["version"] == call("GET", f"/v1/models/late/versions/{number}")
    assert found["model"] == {"name": "late", "dataset": "flights", "label": "late", "task": "auto"}
    assert (found["run"]["request_id"], found["run"]["usd_per_hour"], found["trials"]) == (asked["id"], None, [])
    for media, name in (("text/html", "html"), ("text/markdown", "markdown")):
        by_accept = call.send("GET", path, key="read", headers={"Accept": media})
        by_name = call.send("GET", f"{path}?format={name}")
        assert by_accept.mimetype == by_name.mimetype == media
        assert by_accept.get_data() == by_name.get_data()
        assert "Model late, version 1" in by_name.get_data(as_text=True)
    assert "default-src 'none'" in call.send("GET", f"{path}?format=html").headers["Content-Security-Policy"]
    assert call.send("GET", f"{path}?format=json", headers={"Accept": "text/html"}).mimetype == "application/json"
    assert call("GET", f"{path}?format=pdf", 400)["error"]["code"] == "bad_request"
    assert call("GET", "/v1/models/late/versions/9/report", 404)["error"]["code"] == "unknown_version"
    assert call("GET", "/v1/models/early/versions/1/report", 404)["error"]["code"] == "unknown_model"
    assert trained(call, store, warehouse) == number + 1
    assert call("GET", f"/v1/models/late/versions/{number + 1}/report")["report"] is None
