"""The scheduler under test: on Postgres and the emulator, with trained and imported versions, requests, dead letters.

Its loops do not run: what is asked of the fleet, the queues and the trainers waits.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.api.scheduler_models import ARTIFACT, MODELS, imported_model
from tests.api.service import HERE, Around, Service, Subject, around, serving
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import dead_letter_name
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.auth import make_key as some_key
from trainyard.config import load
from trainyard.contracts.queue import Outgoing
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.processes import GUNICORN
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.keys import make_key
from trainyard_scheduler.use_cases.publish import Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BY = By("test", "trace")
#: Days that may be the wrong way round, and numbers: to JSON Schema 1.0 and 2**70 are integers, here they are none.
_FREE = {
    "GET /v1/costs",
    "POST /v1/keys",
    "PUT /v1/models/{name}",
    "POST /v1/models/{name}/requests",
    "POST /v1/queues/dlq/redrive",
    "PUT /v1/models/{name}/aliases/{alias_name}",
    "POST /v1/models/{name}/rollback",
    "POST /v1/models/{name}/versions/{number}/approve",
}


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """Run gunicorn, and put something in."""
    with around(folder, database=True) as stack:
        assert stack.postgres is not None
        engine = make_engine(stack.postgres.url(), service="test")
        store = PostgresStore(engine)
        with store.begin() as records:
            keys = {
                "all": make_key(records, "all", ["admin", "operate", "read"], None, _BY)[1],
                "none": make_key(records, "none", ["ingest", "predict", "feedback"], None, _BY)[1],
                "wrong": some_key(),
            }
        Publisher(store, stack.blobs, look_seconds=1.0).step()
        with serving(folder, stack.environment, (*GUNICORN, "trainyard_scheduler.wsgi:app()")) as url:
            found = Service(url, keys, {"name": [*MODELS, "training"], "model": [*MODELS]})
            _fill(found, Warehouse(engine))
            _bury(stack)
            yield found
        engine.dispose()


def _fill(found: Service, warehouse: Warehouse) -> None:
    """Make models, each with a version that was trained and one that was imported, and a request that waits."""
    requests = []
    for name in MODELS:
        warehouse.add(10)
        found.ask("PUT", f"/v1/models/{name}", {"dataset": "flights", "label": "late"})
        asked = found.ask("POST", f"/v1/models/{name}/requests", {})
        warehouse.claim(asked["id"])
        warehouse.finish(asked["id"], waits=True)
        found.ask("POST", f"/v1/models/{name}/versions", imported_model(name), ARTIFACT)
        for version in (2, 1):
            found.ask("PUT", f"/v1/models/{name}/aliases/champion", {"version": version})
        warehouse.add(5)
        waiting = found.ask("POST", f"/v1/models/{name}/requests", {"priority": 3})
        requests += [asked["id"], waiting["id"]]
    spare = [found.ask("POST", "/v1/keys", {"name": "spare", "scopes": ["read"]})["id"] for _ in range(3)]
    runs = [run["id"] for run in found.ask("GET", "/v1/runs")["items"]]
    found.known.update(
        run_id=runs,
        request_id=[*requests, runs[0]],
        number=["1", "2", "3"],
        alias_name=["champion", "previous", "challenger"],
        ident=[*requests, runs[0], f"{MODELS[0]}@1"],
        key_id=spare,
        cursor=["1", "30", requests[0], runs[0], MODELS[0], spare[0]],
        state=["queued", "done", "cancelled"],
        at=["2026-01-31T12:00:00Z", "2026-01-31"],
    )


def _bury(stack: Around) -> None:
    """Put letters among the dead: one of a request that nobody knows, and one that nobody can read."""
    config = load(stack.environment)
    clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    queue = SqsQueue(clients.sqs, dead_letter_name(config.queue_training))
    queue.send([Outgoing(json.dumps({"no": number}), "TrainingRequest") for number in range(2)])
    clients.close()


def _inexact(name: str, operation: dict[str, Any]) -> bool:
    """Tell of cursors, times and model files, which may be well-formed and still be none."""
    parameters = {parameter["name"] for parameter in operation["parameters"]}
    kinds = set(operation.get("requestBody", {}).get("content", ()))
    return "cursor" in parameters or ARTIFACT in kinds or name in _FREE


SUBJECT = Subject(
    "scheduler",
    running,
    HERE / "scheduler_hooks.py",
    _inexact,
    unbounded=frozenset({"GET /v1/events"}),
    keeps=True,
    examples=(30, 500),
)
