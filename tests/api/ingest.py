"""The ingest service under test: on Postgres and the emulator, with a dataset, a model and a prediction."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
from tests.api.service import HERE, Service, Subject, around, service_keys, serving

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.clock import SystemClock
from trainyard.contracts.prediction_log import Prediction
from trainyard.testing.processes import GUNICORN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard.testing.postgres import PostgresServer

#: Routes whose bodies hold what no schema can judge: numbers beyond all that are taken, addresses that are refused.
_FREE = {"/v1/feedback", "/v1/datasets/{name}/sources/{source}"}
_COLUMNS = [{"name": "id", "type": "int", "role": "key", "nullable": False}, {"name": "x", "type": "float"}]


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """Run gunicorn, and put something in."""
    with around(folder, database=True) as stack:
        assert stack.postgres is not None
        keys = service_keys(stack.blobs, ("admin", "operate", "ingest", "read", "feedback"), ("predict",))
        served = (*GUNICORN, "trainyard_ingest.wsgi:app()")
        with serving(folder, stack.environment, served) as url:
            found = Service(url, keys, {"name": ["shop"], "model": ["buys"]})
            _fill(found, stack.postgres)
            yield found


def _fill(found: Service, postgres: PostgresServer) -> None:
    found.ask("PUT", "/v1/datasets/shop", {"columns": _COLUMNS})
    batch = found.ask("POST", "/v1/datasets/shop/rows", b"id,x\n" + b"1,2\n" * 30 + b"z,1\n", "text/csv")
    with psycopg2.connect(postgres.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core.model (name, dataset_id, label, task, policy)"
            " SELECT 'buys', id, 'x', 'auto', '{}' FROM core.dataset"
        )
    connection.close()
    engine = make_engine(postgres.url(), service="test")
    at = SystemClock().now()
    PostgresPredictionLog(engine).add([Prediction("p1", "buys", 1, "k", None, {"id": 1}, {"prediction": 2}, 5, at)])
    engine.dispose()
    found.known["ident"] = [batch["id"], "p1"]
    found.known["key"] = ["1", "2"]


def _inexact(name: str, operation: dict[str, Any]) -> bool:
    """Tell of cursors, keys to erase and files of rows, which may be well-formed and still be none."""
    parameters = {parameter["name"] for parameter in operation["parameters"]}
    kinds = set(operation.get("requestBody", {}).get("content", ()))
    return bool(parameters & {"cursor", "key"}) or "text/csv" in kinds or name.partition(" ")[2] in _FREE


SUBJECT = Subject("ingest", running, HERE / "ingest_hooks.py", _inexact)
