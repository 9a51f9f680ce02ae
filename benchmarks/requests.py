"""A backlog of 10,000 queued training requests, listed through HTTP: the whole of it, and one page.

The scheduler's web service is asked as a client would, with a key and a new answer each time. Beside it stands the
same server when it only sends bytes of that size that it has in memory: what HTTP itself costs here.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.gunicorn import serving
from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.config import load
from trainyard.contracts.requests import NewRequest
from trainyard.policy import Policy
from trainyard.testing.emulator import AwsEmulator
from trainyard.testing.postgres import PostgresServer
from trainyard.testing.processes import GUNICORN
from trainyard.testing.publishing import publish_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

QUEUED = 10_000
ROUNDS = 15
LIMIT_MS = 300.0
PAGE = 100


def run() -> list[dict[str, Any]]:
    """Measure, print the table and return its rows."""
    with tempfile.TemporaryDirectory() as folder, _services(Path(folder)) as environment:
        key = _backlog(environment)
        with serving((*GUNICORN, "trainyard_scheduler.wsgi:app()"), environment, workers=1) as port:
            whole = f"http://127.0.0.1:{port}/v1/requests?state=queued&limit="
            listed, size = _milliseconds(f"{whole}{QUEUED}", key, QUEUED)
            page, _ = _milliseconds(f"{whole}{PAGE}", key, PAGE)
        memory_app = (*GUNICORN, "benchmarks.flask_apps:memory()")
        with serving(memory_app, {**environment, "BENCHMARK_BYTES": str(size)}) as port:
            memory, _ = _milliseconds(f"http://127.0.0.1:{port}/memory", key, None)
    rows = [
        _row(f"{QUEUED:,} queued requests ({size / 1e6:.1f} MB)", listed, memory),
        _row(f"the newest {PAGE} of them", page, memory),
        _row("the same bytes from memory", memory, memory),
    ]
    print(f"   {'listed through HTTP':<40}{'median ms':>11}{'worst ms':>10}{'limit ms':>10}{'x memory':>10}")
    for row in rows:
        print(f"   {row['what']:<40}{row['median']:>11.0f}{row['worst']:>10.0f}{LIMIT_MS:>10.0f}{row['ratio']:>10.1f}")
    return rows


@contextmanager
def _services(folder: Path) -> Iterator[dict[str, str]]:
    """Start Postgres and the emulator; give the environment of a scheduler."""
    postgres, emulator = PostgresServer(folder / "postgres"), AwsEmulator(folder / "aws")
    postgres.start()
    try:
        emulator.start()
        migrate(postgres.url())
        yield {**os.environ, **emulator.environment, "TRAINYARD_DATABASE_URL": postgres.url()}
    finally:
        emulator.stop()
        postgres.stop()


def _backlog(environment: dict[str, str]) -> str:
    """Queue the requests of a few models; return an API key that may list them."""
    config = load(environment)
    access = {"access_key": environment["AWS_ACCESS_KEY_ID"], "secret_key": environment["AWS_SECRET_ACCESS_KEY"]}
    clients = AwsClients(config, **access)
    AwsSetup(clients, config).ensure()
    key = publish_key(S3Blobs(clients.s3, config.bucket), "read")
    clients.close()
    engine = make_engine(config.require_database(), service="benchmark")
    fill(engine, QUEUED)
    engine.dispose()
    return key


def fill(engine: sa.Engine, count: int, *, models: int = 10) -> None:
    """Queue ``count`` requests, each for a snapshot of its own."""
    store = PostgresStore(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO core.dataset (name, columns, last_seq) VALUES ('d', '[]', 1000000)")
    for number in range(models):
        with store.begin() as records:
            dataset = records.models.dataset("d")
            assert dataset is not None
            records.models.add(f"model_{number}", dataset.id, label="y", task="auto", policy=Policy())
            model = records.models.get(f"model_{number}")
            assert model is not None
            for upto in range(1, count // models + 1):
                settings = Policy(seed=upto).settings()
                records.requests.add(NewRequest(model.id, "min_new_rows", upto, 1000, settings, "policy", None))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE core.training_request")


def _milliseconds(url: str, key: str, expected: int | None) -> tuple[list[float], int]:
    """Return the times of the rounds after the first, and the answer's size in bytes."""
    times = []
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {key}"
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            answer = session.get(url, timeout=30)
            times.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, answer.text[:200]
        assert expected is None or len(json.loads(answer.content)["items"]) == expected
    return times[1:], len(answer.content)


def _row(what: str, times: list[float], memory: list[float]) -> dict[str, Any]:
    median = statistics.median(times)
    return {
        "what": what,
        "median": median,
        "worst": max(times),
        "limit": LIMIT_MS,
        "ratio": median / statistics.median(memory),
    }
