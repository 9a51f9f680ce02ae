"""A trainer as a process, on real Postgres, SQS and S3, and a dataset that a model can learn."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.engine import make_engine
from trainyard.messages import TrainingRequest
from trainyard.policy import Policy
from trainyard.testing.processes import end, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config

LEASE_SECONDS = 2
COLUMNS = [
    {"name": "id", "type": "int", "role": "key", "nullable": False, "physical": "c1"},
    {"name": "age", "type": "int", "role": "feature", "nullable": True, "physical": "c2"},
    {"name": "city", "type": "category", "role": "feature", "nullable": True, "physical": "c3"},
    {"name": "bought", "type": "bool", "role": "label", "nullable": True, "physical": "c4"},
]


class Yard:
    """The database, the queue and the bucket that a trainer works with, and trainers."""

    def __init__(
        self, engine: sa.Engine, queue: SqsQueue, blobs: S3Blobs, environment: dict[str, str], directory: Path
    ) -> None:
        self.engine = engine
        self.queue = queue
        self.blobs = blobs
        self._environment = environment
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._next = 1
        self.dataset = self.one(
            "INSERT INTO core.dataset (name, columns) VALUES ('shoppers', CAST(:columns AS jsonb)) RETURNING id",
            columns=json.dumps(COLUMNS),
        )
        self.execute(
            f"CREATE TABLE data_.t_{self.dataset}"
            " (ingest_seq bigint PRIMARY KEY, batch_id uuid, c1 bigint, c2 bigint, c3 text, c4 boolean)"
        )
        self.model = self.one(
            "INSERT INTO core.model (name, dataset_id, label, task, policy)"
            " VALUES ('buys', :dataset, 'bought', 'auto', '{}') RETURNING id",
            dataset=self.dataset,
        )

    def add_rows(self, count: int, *, seed: int = 0, shuffled: bool = False) -> None:
        """Store rows whose label depends on age and city, or with ``shuffled`` on nothing."""
        rng = np.random.default_rng(seed)
        age, city = rng.integers(18, 80, count), rng.integers(0, 3, count)
        label = (age - 50) / 12 + 1.5 * (city == 2) + rng.normal(0, 0.7, count) > 0
        if shuffled:
            label = rng.permutation(label)
        with self.engine.begin() as connection:
            connection.execute(
                sa.text(f"INSERT INTO data_.t_{self.dataset} (ingest_seq, c1, c2, c3, c4) VALUES (:s, :s, :a, :c, :b)"),
                [
                    {"s": self._next + i, "a": int(age[i]), "c": "ABC"[city[i]], "b": bool(label[i])}
                    for i in range(count)
                ],
            )
        self._next += count

    def request(self, *, reproduces: int | None = None, **settings: Any) -> str:
        """Queue a request for everything stored so far, or to fit a version again, and send its message."""
        request_id = str(uuid.uuid4())
        given = Policy().settings() | {"kinds": ["linear"], "budget_seconds": 20.0} | settings
        self.execute(
            "INSERT INTO core.training_request (id, model_id, reason, upto_seq, new_rows, settings, requested_by,"
            " reproduces)"
            " VALUES (CAST(:id AS uuid), :model, 'by_hand', :upto, 1, CAST(:settings AS jsonb), 'test', :again)",
            id=request_id,
            model=self.model,
            upto=0 if reproduces else self._next - 1,
            again=reproduces,
            settings=json.dumps(given),
        )
        self.send(request_id)
        return request_id

    def send(self, request_id: str) -> None:
        """Send the message of a request (once more)."""
        assert self.queue.send([TrainingRequest(request_id).outgoing()]) == []

    def relay(self) -> int:
        """Send what waits in the outbox, as the scheduler does; return how many messages that was."""
        waiting = self.rows("UPDATE core.outbox SET sent_at = now() WHERE sent_at IS NULL RETURNING body")
        for _ in waiting:
            self.send(str(self.one("SELECT id FROM core.training_request ORDER BY created_at DESC LIMIT 1")))
        return len(waiting)

    def trainer(
        self,
        *,
        chaos: str = "",
        idle_seconds: float = 1.0,
        child: str = "",
        memory_mb: int = 0,
        work_dir: Path | None = None,
        lease_seconds: int = LEASE_SECONDS,
    ) -> subprocess.Popen[bytes]:
        """Start a trainer process; ``child`` is another training process than its own.

        One that works beside another needs a ``work_dir`` of its own: each clears its own at the start.
        """
        environment = {
            **self._environment,
            "TRAINYARD_IDLE_SECONDS": str(idle_seconds),
            "TRAINYARD_TRAINING_CHILD": child,
            "TRAINYARD_TRAINING_MEMORY_MB": str(memory_mb),
            "TRAINYARD_WORK_DIR": str(work_dir or self._directory / "work"),
            "TRAINYARD_LEASE_SECONDS": str(lease_seconds),
            "CHAOS": chaos,
        }
        with (self._directory / "trainer.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "trainyard_trainer.main"], env=environment, stderr=log)
        self._processes.append(process)
        return process

    def log(self) -> str:
        """Return what all trainers have logged."""
        return (self._directory / "trainer.log").read_text()

    def end_all(self) -> None:
        """End every trainer that still runs."""
        for process in self._processes:
            end(process)

    def state(self, request_id: str) -> str:
        """Return the request's state."""
        return str(self.one("SELECT state FROM core.training_request WHERE id = CAST(:id AS uuid)", id=request_id))

    def until(self, request_id: str, state: str, *, seconds: float = 40) -> None:
        """Wait for a state of the request."""
        wait_until(lambda: self.state(request_id) == state, f"the request to be {state}", seconds=seconds)

    def until_rows(self, statement: str, count: int, *, seconds: float = 40) -> None:
        """Wait until a statement gives that many rows, or more."""
        wait_until(lambda: len(self.rows(statement)) >= count, statement, seconds=seconds)

    def versions(self) -> list[dict[str, Any]]:
        """Return the model's versions; each has its artifact, whole, on S3."""
        found = self.rows("SELECT * FROM core.version ORDER BY version")
        for version in found:
            assert hashlib.sha256(self.blobs.get(version["artifact_key"]).data).hexdigest() == version["sha256"]
        return found

    def execute(self, statement: str, **values: Any) -> None:
        """Run a statement."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def one(self, statement: str, **values: Any) -> Any:
        """Return the one value that a statement gives."""
        with self.engine.begin() as connection:
            return connection.execute(sa.text(statement), values).scalar_one()

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Return the rows that a statement gives."""
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]


@pytest.fixture
def yard(
    database_url: str,
    aws_clients: AwsClients,
    aws_config: Config,
    aws_environment: dict[str, str],
    aws_setup: AwsSetup,
    tmp_path: Path,
) -> Iterator[Yard]:
    """A yard with a dataset without rows and a model without versions."""
    engine = make_engine(database_url, service="test")
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **aws_environment,
        "TRAINYARD_DATABASE_URL": database_url,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9",
    }
    queue = SqsQueue(aws_clients.sqs, aws_config.queue_training)
    yard = Yard(engine, queue, S3Blobs(aws_clients.s3, aws_config.bucket), environment, tmp_path)
    yield yard
    yard.end_all()
    engine.dispose()
