"""Messages that no consumer may die of, in front of healthy ones, on the loop's real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.poison.corpus import Poison, corpus

from trainyard.adapters.aws.ensure import dead_letter_name
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.messages import DataArrived, PredictionLogged, TrainingRequest
from trainyard.schema import Column, Schema
from trainyard.testing.processes import end, wait_until
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import delete_model, put_model
from trainyard_scheduler.use_cases.requests import ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config

pytestmark = pytest.mark.any_aws
BY = By("test", "trace")
LEASE_SECONDS = 5
PROCESSES = ("trainyard_ingest.main", "trainyard_scheduler.main", "trainyard_trainer.main")
COLUMNS = [Column("id", "int", role="key", nullable=False), Column("x", "float"), Column("y", "float", role="label")]
POLICY = {"min_new_rows": 100, "budget_seconds": 5.0, "kinds": ["linear"], "gate": {"min_rows": 20}}
CSV = "id,x,y\n" + "".join(f"{i},{i % 17},{2 * (i % 17) + i * 7 % 11}\n" for i in range(400))
RECORD = {
    "id": "pr_1",
    "model": "buys",
    "version": 1,
    "key_id": "k",
    "trace_id": None,
    "inputs": {"x": 1.0},
    "output": {"prediction": 1.0},
    "latency_us": 1,
    "predicted_at": "2026-01-01T00:00:00+00:00",
}


class Line:
    """The loop's processes on a database and queues of their own; started after the poison lies in the queues."""

    def __init__(self, database_url: str, clients: AwsClients, config: Config, environment: dict[str, str]) -> None:
        self.engine = make_engine(database_url, service="test")
        self.blobs = S3Blobs(clients.s3, config.bucket)
        self._sqs = clients.sqs
        self._names = {
            "training": config.queue_training,
            "arrived": config.queue_arrived,
            "objects": config.queue_objects,
            "predictions": config.queue_predictions,
        }
        self._environment = environment
        self.processes: list[subprocess.Popen[bytes]] = []
        self._warehouse = PostgresWarehouse(self.engine, SystemClock())
        self._store = PostgresStore(self.engine)
        self._warehouse.create("shop", Schema(COLUMNS), actor="test")
        with self._store.begin() as records:
            put_model(records, "buys", {"dataset": "shop", "label": "y", "policy": POLICY}, BY)

    def start(self, log: Path) -> None:
        """Start ingest's worker, the scheduler's loops and a trainer."""
        for module in PROCESSES:
            with log.open("ab") as stream:
                self.processes.append(
                    subprocess.Popen([sys.executable, "-m", module], env=self._environment, stderr=stream)
                )

    def queue(self, name: str) -> SqsQueue:
        """Return a queue by its short name."""
        return SqsQueue(self._sqs, self._names[name])

    def dead(self, name: str) -> SqsQueue:
        """Return its dead letters."""
        return SqsQueue(self._sqs, dead_letter_name(self._names[name]))

    def plant(self, name: str, poison: Poison) -> str:
        """Send a message, be it larger than what we would send ourselves; return its id."""
        url = self._sqs.get_queue_url(QueueName=self._names[name])["QueueUrl"]
        kind = (
            {"MessageAttributes": {"type": {"DataType": "String", "StringValue": poison.type}}} if poison.type else {}
        )
        return str(self._sqs.send_message(QueueUrl=url, MessageBody=poison.body, **kind)["MessageId"])

    def of_a_deleted_dataset(self) -> None:
        """Leave messages about a request, a model and a dataset that are gone in front of the others."""
        self._warehouse.create("gone", Schema(COLUMNS), actor="test")
        with self._store.begin() as records:
            put_model(records, "gone", {"dataset": "gone", "label": "y", "policy": POLICY}, BY)
        with self.engine.begin() as connection:
            connection.execute(sa.text("UPDATE core.dataset SET last_seq = 1 WHERE name = 'gone'"))
        with self._store.begin() as records:
            _, request = ask(records, "gone", {}, BY)
            delete_model(records, "gone", BY)
        self._warehouse.delete("gone", actor="test")
        self.queue("training").send([TrainingRequest(request.id).outgoing()])
        self.queue("arrived").send([DataArrived("gone", "b", 1).outgoing()])

    def count(self, query: str) -> int:
        """Return the number that a query gives."""
        with self.engine.connect() as connection:
            return int(connection.execute(sa.text(query)).scalar_one())

    def names_of_the_dead(self, queue: str, planted: dict[str, Poison]) -> set[str]:
        """Return the poison that the dead letters hold, and "other" for anything else."""
        found = set()
        while letters := self.dead(queue).receive(limit=10, wait_seconds=1, visibility_seconds=60):
            found |= {planted[m.message_id].name if m.message_id in planted else f"other: {m.body}" for m in letters}
        return found

    def end(self) -> None:
        """End everything."""
        for process in self.processes:
            end(process)
        self.engine.dispose()


@pytest.fixture
def line(
    database_url: str,
    aws_clients: AwsClients,
    aws_config: Config,
    aws_environment: dict[str, str],
    aws_setup: AwsSetup,
    tmp_path: Path,
) -> Iterator[Line]:
    """A line that is not started yet. Nothing but messages makes it move: its clocks are an hour away."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **aws_environment,
        "TRAINYARD_DATABASE_URL": database_url,
        "TRAINYARD_DATA_DIR": str(tmp_path),
        "TRAINYARD_WORK_DIR": str(tmp_path / "work"),
        "TRAINYARD_LEASE_SECONDS": str(LEASE_SECONDS),
        "TRAINYARD_IDLE_SECONDS": "3600",
        "TRAINYARD_LANDING_SWEEP_SECONDS": "3600",
        "TRAINYARD_POLICY_TICK_SECONDS": "3600",
        "TRAINYARD_FLEET_MAX": "0",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9",
    }
    line = Line(database_url, aws_clients, aws_config, environment)
    yield line
    line.end()


def test_poison_in_every_queue_stops_nothing(line: Line, tmp_path: Path) -> None:
    """With all poison in front, a file still becomes a champion; all processes live, and what is unreadable is dead.

    The healthy work goes through every queue: the file's notification, 'data arrived', the training request, the
    prediction log. Nothing waits for a second look by the clock.
    """
    queues = ("training", "arrived", "objects", "predictions")
    planted = {name: {line.plant(name, poison): poison for poison in corpus(name)} for name in queues}
    line.of_a_deleted_dataset()
    line.start(tmp_path / "log")
    log = tmp_path / "log"
    wait_until(lambda: b"landing.no_dataset" in log.read_bytes(), "ingest to have met the poison", seconds=60)
    line.blobs.put("landing/shop/healthy.csv", CSV.encode())
    line.queue("predictions").send([PredictionLogged([RECORD]).outgoing()])

    wait_until(lambda: line.count("SELECT count(*) FROM core.prediction WHERE id = 'pr_1'") == 1, "a log", seconds=60)
    wait_until(lambda: line.count("SELECT count(*) FROM core.batch") == 1, "the batch", seconds=60)
    wait_until(lambda: line.count("SELECT count(*) FROM core.alias WHERE name = 'champion'") == 1, "it", seconds=90)
    for name in queues:
        wait_until(lambda name=name: line.queue(name).depth().total == 0, f"{name} to be empty", seconds=120)
        dead = {poison.name for poison in planted[name].values() if poison.dead}
        assert line.names_of_the_dead(name, planted[name]) == dead, name
    assert [process.poll() for process in line.processes] == [None, None, None]
    assert line.count("SELECT count(*) FROM core.version") == 1
