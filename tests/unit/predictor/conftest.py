"""A predictor on fakes: a bucket, a queue and a clock in memory, and the real spool in a temporary directory."""

from __future__ import annotations

import json
from dataclasses import replace
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
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trainyard.model import Model
    from trainyard_predictor.handler import Response


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
        self.config = load({"TRAINYARD_SPOOL_DIR": str(spool), **settings})
        self.key = publish_key(self.blobs, "predict")
        self.service = bootstrap.build(self.config, blobs=self.blobs, queue=self.queue, clock=self.clock)
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
        return logged_records(self.queue)

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
