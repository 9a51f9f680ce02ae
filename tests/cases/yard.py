"""The whole product around one database, one bucket and one set of queues, as the cases need it.

Rows come in through ingest, requests through the scheduler, and trainers are the product's own with everything real but
the child process, which most cases replace by a call in this process.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.studies import PostgresStudies
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.adapters.postgres.workers import PostgresAttendance
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.schema import Column, Schema
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.fakes import MemoryStudies
from trainyard.testing.processes import end, wait_until
from trainyard_ingest.domain import formats
from trainyard_ingest.use_cases.intake import Origin, RowIntake
from trainyard_scheduler.use_cases import relay
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask
from trainyard_trainer import bootstrap
from trainyard_trainer import child as child_module
from trainyard_trainer.edges import Metadata, WorkerPresence
from trainyard_trainer.ports import Stop
from trainyard_trainer.use_cases import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard_trainer.ports import Hear

BY = By("test", "trace")
UNHURRIED = 30
DATASET, MODEL = "shoppers", "buys"
ROOT = Path(__file__).parents[2]
SCHEMA = Schema(
    [
        Column("id", "int", role="key", nullable=False),
        Column("age", "int"),
        Column("city", "category"),
        Column("bought", "bool", role="label"),
    ]
)
#: A request that is trained in well under a second.
QUICK = {
    "min_new_rows": None,
    "kinds": ["linear"],
    "budget_seconds": 5.0,
    "gate": {"min_rows": 20, "confidence": 0.5},
}


def learn(directory: Path) -> int:
    """Do a training child's work, with a study of its own in memory."""
    return child_module.work(directory, lambda _: None, MemoryStudies().join("request/0", seed=0, metric="auto"))


class InProcess:
    """Children that are calls: ``script`` gets the run's directory and returns an exit code."""

    def __init__(self, script: Callable[[Path], int] = learn) -> None:
        self._script = script

    def warm(self) -> None:
        """Nothing to start ahead."""

    def take(self) -> _Call:
        """Return a child."""
        return _Call(self._script)

    def close(self) -> None:
        """Nothing to end."""


class _Call:
    def __init__(self, script: Callable[[Path], int]) -> None:
        self._script = script
        self._directory = Path()

    def begin(self, directory: Path, hear: Hear) -> None:
        self._directory = directory

    def wait(self, seconds: float) -> int | None:
        return self._script(self._directory)

    def progress(self) -> Mapping[str, Any] | None:
        return None

    def trials(self) -> Sequence[Mapping[str, Any]]:
        return []

    def wrote(self) -> Sequence[str]:
        return []

    def kill(self) -> None:
        """It has ended."""

    def last_words(self) -> str:
        return ""


class Yard:
    """A dataset with rows, a model, and the hands of everybody who works with them."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self.environment = dict(environment)
        self.directory = directory
        self.config = load(self.environment)
        self.clients = AwsClients(self.config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        self.engine = make_engine(self.config.require_database(), service="test")
        self.store = PostgresStore(self.engine)
        self.warehouse = PostgresWarehouse(self.engine, SystemClock())
        self.intake = RowIntake(self.warehouse, SystemClock())
        self.queue = SqsQueue(self.clients.sqs, self.config.queue_training)
        self.blobs = S3Blobs(self.clients.s3, self.config.bucket)
        self._others: list[AwsClients] = []
        self._engines = [self.engine]
        self._studies: list[PostgresStudies] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._next_key = 1
        self.warehouse.create(DATASET, SCHEMA, actor="test")

    def close(self) -> None:
        """End everything that was started."""
        for process in self._processes:
            end(process)
        for engine in self._engines:
            engine.dispose()
        for studies in self._studies:
            studies.close()
        for clients in (self.clients, *self._others):
            clients.close()

    # --- data, requests, messages ---

    def add_rows(self, count: int = 300, *, seed: int = 0) -> None:
        """Send rows through ingest; whether somebody bought depends on age and city."""
        rng = np.random.default_rng(seed)
        age, city = rng.integers(18, 80, count), rng.integers(0, 3, count)
        bought = (age - 50) / 12 + 1.5 * (city == 2) + rng.normal(0, 0.7, count) > 0
        keys = range(self._next_key, self._next_key + count)
        self._next_key += count
        lines = [
            f"{k},{a},{'ABC'[c]},{str(bool(b)).lower()}" for k, a, c, b in zip(keys, age, city, bought, strict=True)
        ]
        body = "\n".join(["id,age,city,bought", *lines]).encode()
        kind = formats.by_name("rows.csv")
        assert kind is not None
        self.intake.take(DATASET, io.BytesIO(body), kind, Origin("http", "", None, None))

    def make_model(self, name: str = MODEL, **policy: Any) -> None:
        """Create a model of the dataset that is trained quickly, and by hand unless the policy says otherwise."""
        with self.store.begin() as records:
            put_model(records, name, {"dataset": DATASET, "label": "bought", "policy": {**QUICK, **policy}}, BY)

    def ask(self, name: str = MODEL) -> str:
        """Ask for a training by hand; its message waits in the outbox. Return the request's id."""
        with self.store.begin() as records:
            return ask(records, name, {}, BY)[1].id

    def relay(self) -> None:
        """Send what waits for the training queue, as the scheduler does."""
        self.execute("DELETE FROM core.outbox WHERE queue <> 'training'")
        relay.relay_all(self.store, {"training": self.queue})

    def request(self, name: str = MODEL) -> str:
        """Ask for a training whose message is on the queue."""
        request_id = self.ask(name)
        self.relay()
        return request_id

    # --- trainers ---

    def trainer(
        self,
        script: Callable[[Path], int] = learn,
        *,
        name: str = "first",
        endpoint: str | None = None,
        database_url: str | None = None,
        instance_id: str | None = None,
        lease_seconds: int | None = None,
        **outside: Any,
    ) -> Trainer:
        """Return a trainer; ``endpoint`` and ``database_url`` lead it through a proxy, ``outside`` replaces parts.

        ``lease_seconds``: UNHURRIED where the case is not about the lease, so that a slow machine loses none.
        """
        clients, engine, config = self.clients, self.engine, self.config
        if endpoint is not None:
            config = load({**self.environment, "AWS_ENDPOINT_URL": endpoint})
            clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
            self._others.append(clients)
        if database_url is not None:
            engine = make_engine(database_url, service="trainer", pool_size=4)
            self._engines.append(engine)
        config = replace(config, instance_id=instance_id, lease_seconds=lease_seconds or config.lease_seconds)
        settings = replace(bootstrap.settings(config, Metadata(config.imds_url)), worker=name, wait_seconds=1)
        stop = Stop()
        studies = PostgresStudies(database_url or config.require_database(), service="trainer")
        self._studies.append(studies)
        presence = WorkerPresence(PostgresAttendance(engine), settings, stop)
        parts = bootstrap.outside(config, clients, engine, studies, presence)
        return Trainer(replace(parts, **{"children": InProcess(script), **outside}), settings, stop)

    def work_off(self, trainer: Trainer, *, seconds: float = 30) -> None:
        """Let the trainer work, the relay beside it, until queue and database agree that nothing is left."""

        def nothing_left() -> bool:
            self.relay()
            return trainer.nothing_left() or (trainer.step() and trainer.nothing_left())

        wait_until(nothing_left, "the last request to be settled", seconds=seconds)

    def start(self, module: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start ``python -m module`` with the yard's settings; its log goes to :meth:`log`."""
        variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with (self.directory / "processes.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={**variables, **self.environment, **environment},
                stderr=log,
                cwd=ROOT,
            )
        self._processes.append(process)
        return process

    def log(self) -> str:
        """Return what the started processes have logged."""
        return (self.directory / "processes.log").read_text()

    # --- what there is now ---

    def execute(self, statement: str, **values: Any) -> None:
        """Run a statement."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Return the rows that a statement gives."""
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]

    def row(self, request_id: str) -> dict[str, Any]:
        """Return the request's record."""
        (found,) = self.rows("SELECT * FROM core.training_request WHERE id = CAST(:id AS uuid)", id=request_id)
        return found

    def runs(self, request_id: str) -> list[dict[str, Any]]:
        """Return the request's runs in their order."""
        return self.rows("SELECT * FROM core.run WHERE request_id = CAST(:id AS uuid) ORDER BY fence", id=request_id)

    def versions(self) -> list[dict[str, Any]]:
        """Return all versions in their order."""
        return self.rows("SELECT * FROM core.version ORDER BY model_id, version")

    def artifacts(self) -> list[str]:
        """Return the keys of all artifacts that are stored."""
        return [info.key for info in self.blobs.list("models/")]


def in_thread(call: Callable[[], object]) -> threading.Thread:
    """Run ``call`` beside the test; join the thread with a deadline."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread
