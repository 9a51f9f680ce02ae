"""A predictor on fakes: a bucket, a queue and a clock in memory, and the real spool in a temporary directory."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.config import load
from trainyard.messages import ShadowScored, decode
from trainyard.model import with_golden
from trainyard.schema import Column, Schema
from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard.testing.fakes.queue import MemoryQueue
from trainyard.testing.logged import logged_records
from trainyard.testing.models import sample_model
from trainyard.testing.publishing import point_alias, publish_key, publish_version
from trainyard_predictor import bootstrap
from trainyard_predictor.batch.intake import Intake
from trainyard_predictor.batch.jobs import Jobs
from trainyard_predictor.batch.rounds import Batch
from trainyard_predictor.batch.work import Limits, Tools, Work
from trainyard_predictor.edges.direct_log import DirectLog
from trainyard_predictor.edges.model_source import ModelSource
from trainyard_predictor.edges.outbox import Outbox
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard.contracts.part_store import PartStore
    from trainyard.model import Model
    from trainyard_predictor.batch.job import Job
    from trainyard_predictor.handler import Response


sys.path.insert(0, str(Path(__file__).parent))  # what several tests share lies beside them


def with_a_gate(model: Model) -> Model:
    """Return the model as if its dataset had a further column ``gate``, which every row must have."""
    assert model.golden is not None
    schema = Schema([*model.schema.columns, Column("gate", "int", nullable=False)])
    return with_golden(replace(model, schema=schema, golden=None), [{**row, "gate": 1} for row in model.golden.rows])


class World:
    """One predictor process and everything around it; time moves by hand."""

    def __init__(self, spool: Path, **settings: str) -> None:
        self.clock = ManualClock()
        self.blobs = MemoryBlobs()
        self.queue = MemoryQueue(self.clock)
        self.batch_queue = MemoryQueue(self.clock)
        self.config = load({"TRAINYARD_SPOOL_DIR": str(spool), **settings})
        self.key = publish_key(self.blobs, "predict")
        self.service = bootstrap.build(
            self.config, blobs=self.blobs, queue=self.queue, batch_queue=self.batch_queue, clock=self.clock
        )
        self.service.background.refresh()

    def publish(
        self, version: int, *, seq: int | None = None, alias: str = "champion", weight: float = 1.0, gate: bool = False,
        **kind: Any,
    ) -> None:  # fmt: skip
        """Publish a version of the model `flights` (seed = version) and move an alias to it.

        ``gate``: one that reads a column which the others do not, and so refuses rows without it.
        """
        model = sample_model(seed=version, **kind)
        pointer = publish_version(self.blobs, with_a_gate(model) if gate else model, version)
        point_alias(self.blobs, pointer, seq=version if seq is None else seq, alias=alias, weight=weight)

    def ask(self, target: str, body: Any, **headers: str) -> Response:
        """POST a prediction with a good key; ``headers`` replace or add (underscores are hyphens)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {
            "host": "127.0.0.1:8083",
            "authorization": f"Bearer {self.key}",
            "content-type": "application/json",
            **named,
        }
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.service.handler.handle(Request("POST", f"/v1/predict/{target}", "", sent, data))

    def get(self, path: str, query: str = "") -> Response:
        """GET an open route."""
        return self.service.handler.handle(Request("GET", path, query, {"host": "localhost"}))

    def metrics(self) -> str:
        """Return what Prometheus reads."""
        return self.get("/metrics").body.decode()

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass and the refreshing thread have its turn."""
        self.clock.advance(seconds)
        self.service.background.refresh()

    def logged(self) -> list[dict[str, Any]]:
        """Ship the spool and return every record that has reached the queue since the last call."""
        self.service.background.ship()
        return logged_records(self.queue, self.blobs)

    def compared(self) -> list[dict[str, Any]]:
        """Let the shadow have its turn and return every comparison that has reached the queue since the last call."""
        self.service.background.shadow()
        records = []
        for message in self.queue.receive(limit=10, wait_seconds=0, visibility_seconds=60):
            decoded = decode(message.type, message.body)
            if isinstance(decoded, ShadowScored):
                records += decoded.records
                self.queue.delete(message.receipt)
        return records


@pytest.fixture
def made_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes predictors with settings of their own, on one spool directory each; `flights` has version 1."""
    made: list[World] = []

    def make(**settings: str) -> World:
        world = World(tmp_path / f"spool-{len(made)}", **settings)
        world.publish(1)
        made.append(world)
        return world

    yield make
    for world in made:
        world.service.spool.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A predictor whose model `flights` has version 1 as champion."""
    made = World(tmp_path / "spool")
    made.publish(1)
    yield made
    made.service.spool.close()


@pytest.fixture
def bare_world(tmp_path: Path) -> Iterator[World]:
    """A predictor without any model."""
    made = World(tmp_path / "spool")
    yield made
    made.service.spool.close()


class BatchYard:
    """Batch jobs on a bucket in memory, whose parts may be as small as a test likes; time moves by hand."""

    def __init__(self, *, part_bytes: int = 600, lease_seconds: float = 60.0, kind: str = "linear") -> None:
        self.clock = ManualClock()
        self.blobs = MemoryBlobs(self.clock, min_part_bytes=part_bytes)
        self.queue = MemoryQueue(self.clock)
        self.logged = MemoryQueue(self.clock)
        self._limits = Limits(lease_seconds=lease_seconds, part_bytes=part_bytes)
        self._assemble(self.blobs)
        self.model = sample_model(kind)
        pointer = publish_version(self.blobs, self.model, 1)
        point_alias(self.blobs, pointer, seq=1)

    def _assemble(self, blobs: PartStore) -> None:
        self.models = ModelSource(self.blobs, self.clock)
        self.jobs = Jobs(blobs, self.queue, self.clock)
        self.intake = Intake(self.jobs, blobs, self.models, self.clock, most_bytes=10**8, log_share=0.0)
        log = DirectLog(Outbox(self.logged, self.blobs))
        self.work = Work(Tools(self.jobs, blobs, self.models, log, self.clock, self._limits))
        self.batch = Batch(self.jobs, self.intake, self.work, self.clock, slice_seconds=1000)

    def break_store(self, broken: Callable[[PartStore], Any]) -> Any:
        """Put what ``broken`` makes of the store between it and the jobs; return that."""
        between = broken(self.blobs)
        self._assemble(between)
        return between

    def mend_store(self) -> None:
        """Let the store be as it was."""
        self._assemble(self.blobs)

    def drop(self, data: bytes, name: str = "flights/day.csv", *, share: float = 0.0) -> Job:
        """Put a file under batch/in/ and return its job."""
        self.intake.log_share = share
        self.blobs.put(f"batch/in/{name}", data)
        job = self.intake.dropped(self.intake.drops(f"batch/in/{name}")[0])
        assert job is not None
        return job

    def job(self, job: Job) -> Job:
        """Return the job as it is now."""
        return self.jobs.read(job.id)[0]

    def finished(self, job: Job) -> Job:
        """Work on a job until it ends, and return it."""
        while self.work.advance(job.id, 1000) != "ended":
            self.clock.advance(1)
        return self.job(job)

    def output(self, job: Job) -> bytes:
        """Return what a job that is done has made."""
        return self.blobs.get(job.output_key).data

    def rejects(self, job: Job) -> list[dict[str, Any]]:
        """Return the bad lines of a job that is done."""
        return [json.loads(line) for line in self.blobs.get(job.rejects_key).data.splitlines()] if job.bad else []


@pytest.fixture
def batch_yard() -> BatchYard:
    """Batch jobs, with version 1 of `flights`."""
    return BatchYard()


@pytest.fixture(scope="session")
def make_batch_yard() -> Callable[..., BatchYard]:
    """Makes batch yards."""
    return BatchYard
