"""A trace over HTTP, on Postgres: from whichever end it is asked, the whole chain comes back."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.integration.scheduler.calls import MODEL, Client, trained

from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.contracts.prediction_log import Label, Prediction
from trainyard_client.cli.trace import lines
from trainyard_scheduler.use_cases.policies import evaluate_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.scheduler.warehouse import Warehouse

    from trainyard.adapters.postgres.scheduling import PostgresStore

TRACE = "upload-7"
ASKED = "ask-9"


class Loop:
    """Rows that came by an upload, the training that they made the policy ask for, and a prediction with its label."""

    def __init__(self, call: Client, store: PostgresStore, warehouse: Warehouse, engine: sa.Engine) -> None:
        self._engine = engine
        call("PUT", "/v1/models/late", 201, json=MODEL)
        warehouse.add(100)
        with engine.begin() as connection:
            self.batch = connection.execute(
                sa.text("UPDATE core.batch SET trace_id = :t RETURNING CAST(id AS text)"), {"t": TRACE}
            ).scalar_one()
        assert evaluate_models(store) == 1
        (request,) = call("GET", "/v1/requests")["items"]
        self.request = request["id"]
        warehouse.claim(self.request)
        self.version = f"late@{warehouse.finish(self.request)}"
        (run,) = call("GET", "/v1/runs")["items"]
        self.run = run["id"]
        log = PostgresPredictionLog(engine)
        log.add([self._prediction("p1", ASKED), self._prediction("p2", "other")])
        log.give([Label(True, "p1")], key_id="k", trace_id="label-3", once=None)

    def _prediction(self, ident: str, trace_id: str) -> Prediction:
        now = datetime.now(UTC)
        return Prediction(
            id=ident,
            model="late",
            version=1,
            key_id="k",
            trace_id=trace_id,
            inputs={"x": 1.0},
            output={"prediction": True},
            latency_us=5,
            predicted_at=now,
        )


@pytest.fixture
def loop(call: Client, store: PostgresStore, warehouse: Warehouse, engine: sa.Engine) -> Iterator[Loop]:
    """The whole loop, once round."""
    return Loop(call, store, warehouse, engine)


def chain(call: Client, ident: str) -> dict[str, dict[str, Any]]:
    """Return the nodes by name."""
    found = call("GET", f"/v1/trace/{ident}")
    assert found["id"] == ident
    return {node["node"]: node for node in found["nodes"]}


@pytest.mark.parametrize("asked", ["trace", "batch", "request", "run", "version"])
def test_the_chain_is_whole_from_every_id(call: Client, loop: Loop, asked: str) -> None:
    """HTTP, batch, message, request, message, run, version, predictions, each behind what it came of."""
    ident = TRACE if asked == "trace" else getattr(loop, asked)
    nodes = chain(call, ident)
    kinds = ["http", "batch", "message", "request", "message", "run", "version", "predictions"]
    assert [node["kind"] for node in nodes.values()] == kinds
    names = list(nodes)
    assert [node["after"] for node in nodes.values()] == [[], *([name] for name in names[:-1])]
    told = [TRACE, loop.batch, loop.request, loop.run, loop.version]
    assert [
        node["id"] for node in nodes.values() if node["kind"] in {"http", "batch", "request", "run", "version"}
    ] == told
    assert [node["id"] for node in nodes.values() if node["asked"]] == [ident]
    # the caller's id went through the message into the request that a policy made, and into its run
    assert nodes[f"request/{loop.request}"]["trace_id"] == nodes[f"run/{loop.run}"]["trace_id"] == TRACE
    assert nodes[f"predictions/{loop.version}"]["facts"]["rows"] == 2


@pytest.mark.parametrize("ident", ["p1", ASKED, "label-3"])
def test_a_prediction_stands_behind_its_version_and_before_its_label(call: Client, loop: Loop, ident: str) -> None:
    """Asked by its id, by the id of the call that it answered, or by that of its label."""
    nodes = chain(call, ident)
    assert nodes["prediction/p1"]["after"] == [f"version/{loop.version}", f"http/{ASKED}"]
    (label,) = [node for node in nodes.values() if node["kind"] == "feedback"]
    assert label["after"] == ["prediction/p1", "http/label-3"]
    assert f"batch/{loop.batch}" in nodes
    assert "prediction/p2" not in nodes


def test_a_training_by_hand_has_the_id_of_who_asked(
    call: Client, store: PostgresStore, warehouse: Warehouse, loop: Loop
) -> None:
    """It comes of the call; the rows, which were there before, stand beside it."""
    warehouse.add(5)
    made = call("POST", "/v1/models/late/requests", 201, headers={"X-Request-Id": "by-hand-1"})
    nodes = chain(call, "by-hand-1")
    assert nodes[f"request/{made['id']}"]["after"][0] == "http/by-hand-1"
    assert len([node for node in nodes.values() if node["kind"] == "batch"]) == 1


def test_the_trace_of_a_caller_s_traceparent(call: Client, loop: Loop, warehouse: Warehouse) -> None:
    """W3C Trace Context brings the id as well; a malformed one is nobody's."""
    warehouse.add(5)
    ident = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = call.send("POST", "/v1/models/late/requests", headers={"traceparent": f"00-{ident}-00f067aa0ba902b7-01"})
    assert answer.headers["X-Request-Id"] == ident
    assert f"http/{ident}" in chain(call, ident)
    for bad in (f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff-{ident}-00f067aa0ba902b7-01", f"00-{ident}"):
        assert call.send("GET", "/v1/queues", headers={"traceparent": bad}).headers["X-Request-Id"] != ident


def test_what_nobody_knows_is_not_found(call: Client, loop: Loop) -> None:
    """A made-up id, a version that there is not, and one that could not be an id."""
    for ident in (str(uuid.uuid4()), "late@9", "late@x", "' OR 1=1 --"):
        assert call("GET", f"/v1/trace/{ident}", 404)["error"]["code"] == "unknown_trace"


def test_the_tree_on_the_terminal(call: Client, loop: Loop) -> None:
    """Each node below the first that it came after; what came of several names the others."""
    said = lines(call("GET", "/v1/trace/p1")["nodes"])
    depth = [len(line) - len(line.lstrip("│├└─ ")) for line in said]
    assert [line.strip("│├└─ ").split()[0] for line in said] == [
        *("http", "batch", "message", "request", "message", "run", "version", "predictions", "prediction", "feedback")
    ]
    assert depth == [0, 3, 6, 9, 12, 15, 18, 21, 21, 24]
    assert said[-2].strip("│├└─ ").startswith("prediction p1 *")
    assert said[-2].endswith(f"after http/{ASKED}")


def test_an_imported_version_begins_the_chain(call: Client, store: PostgresStore, warehouse: Warehouse) -> None:
    """Without a request, its predictions are all that follows."""
    call("PUT", "/v1/models/late", 201, json=MODEL)
    number = trained(call, store, warehouse)
    nodes = chain(call, f"late@{number}")
    assert nodes[f"version/late@{number}"]["facts"]["passed"] is True
