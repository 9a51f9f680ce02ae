"""A trainer among fakes, and the hands of everybody else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.clock import ManualClock
from trainyard.messages import TrainingRequest
from trainyard.schema import Column, Schema
from trainyard.testing.fakes import (
    MemoryBlobs,
    MemoryFleet,
    MemoryQueue,
    MemoryRuns,
    MemorySearches,
    MemorySnapshots,
    MemoryStudies,
)
from trainyard_trainer.child import PipedStudy, work
from trainyard_trainer.learning import candidates
from trainyard_trainer.ports import Outside, Stop, TrainerSettings
from trainyard_trainer.use_cases import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainyard_trainer.ports import Hear

LEASE = 60
SCHEMA = Schema(
    [
        Column("id", "int", role="key", nullable=False),
        Column("age", "int"),
        Column("city", "category"),
        Column("y", "bool", role="label"),
    ]
)


def rows(count: int = 400, seed: int = 0) -> list[dict[str, Any]]:
    """Return rows whose label depends on age."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, count)
    noisy = age + rng.normal(0, 14, count)
    return [{"id": i, "age": int(age[i]), "city": "AB"[i % 2], "y": bool(noisy[i] > 50)} for i in range(count)]


@dataclass
class FakeChild:
    """A child that does what a test says: ``script`` gets the run's directory and returns an exit code, or None.

    Without one it trains, in the thread of the test: what it asks of its study the trainer's own thread answers.
    """

    script: Callable[[Path], int | None] | None
    clock: ManualClock
    directory: Path | None = None
    killed: bool = False
    said: list[Mapping[str, Any]] = field(default_factory=list)
    hear: Hear | None = None
    answers: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def begin(self, directory: Path, hear: Hear) -> None:
        self.directory, self.hear = directory, hear

    def learn(self, directory: Path) -> int:
        """Do the job for real."""
        return work(directory, self.say, PipedStudy(self.say, lambda: self.answers.get(timeout=30)))

    def say(self, what: dict[str, Any]) -> None:
        if "stage" in what or self.hear is None:
            return
        if "trial" in what:
            self.said.append(what["trial"])
        self.hear(what, lambda answer: self.answers.put(json.dumps(answer)))

    def wait(self, seconds: float) -> int | None:
        assert self.directory is not None
        code = (self.script or self.learn)(self.directory)
        if code is None:
            self.clock.advance(seconds)
        return code

    def progress(self) -> Mapping[str, Any] | None:
        return {"stage": "fitting", "done": 1, "total": 2}

    def trials(self) -> list[Mapping[str, Any]]:
        said, self.said = self.said, []
        return said

    def wrote(self) -> list[str]:
        return []

    def kill(self) -> None:
        self.killed = True

    def last_words(self) -> str:
        return "Segmentation fault"


@dataclass
class FakeChildren:
    """Makes children that follow ``script``; they train for real by default."""

    clock: ManualClock
    script: Callable[[Path], int | None] | None = None
    made: list[FakeChild] = field(default_factory=list)
    closed: bool = False

    def learn(self, directory: Path) -> int:
        """Train, as the newest child."""
        return self.made[-1].learn(directory)

    def warm(self) -> None:
        """Nothing to warm."""

    def take(self) -> FakeChild:
        self.made.append(FakeChild(self.script, self.clock))
        return self.made[-1]

    def close(self) -> None:
        self.closed = True


@dataclass
class FakePresence:
    """Notes what the trainer says of itself."""

    said: list[str] = field(default_factory=list)

    def busy(self, request_id: str) -> None:
        self.said.append(request_id)

    def idle(self) -> None:
        self.said.append("idle")


class World:
    """A trainer among fakes, and the hands of everybody else."""

    schema = SCHEMA
    lease_seconds = LEASE
    rows = staticmethod(rows)

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.dead_letters = MemoryQueue(self.clock)
        self.queue = MemoryQueue(self.clock, dead_letters=self.dead_letters)
        self.runs = MemoryRuns(self.clock)
        self.snapshots = MemorySnapshots()
        self.snapshots.store(1, SCHEMA, rows())
        self.studies = MemoryStudies()
        self.searches = MemorySearches(self.runs, self.clock)
        self.blobs = MemoryBlobs()
        self.fleet = MemoryFleet()
        self.children = FakeChildren(self.clock)
        self.stop = Stop()
        self.work_dir = directory / "work"
        self.presence = FakePresence()
        self.settings = TrainerSettings("host:1", "i-1", "c7i.large", self.work_dir, LEASE, 20.0, idle_seconds=30.0)
        self.outside = Outside(
            self.queue,
            self.runs,
            self.snapshots,
            self.studies,
            self.searches,
            self.blobs,
            self.fleet,
            self.children,
            self.presence,
            self.clock,
        )
        self.trainer = Trainer(self.outside, self.settings, self.stop)

    def lease_for_hours(self) -> None:
        """Let the clock of the test run ahead without a beat."""
        self.settings = replace(self.settings, lease_seconds=43_200, beat_seconds=43_200.0)
        self.trainer = Trainer(self.outside, self.settings, self.stop)

    def limit_copies(self, most_bytes: int) -> None:
        """Let artifacts up to this size be copied into the database."""
        self.settings = replace(self.settings, copy_most_bytes=most_bytes)
        self.trainer = Trainer(self.outside, self.settings, self.stop)

    def request(self, *, upto_seq: int = 400, **more: Any) -> str:
        """Queue a request and its message."""
        settings = {"kinds": ["linear"], "gate": {"min_rows": 20}, "budget_seconds": 20.0}
        settings |= more.pop("settings", {})
        request_id = self.runs.add(upto_seq=upto_seq, settings=settings, **more)
        self.queue.send([TrainingRequest(request_id).outgoing()])
        return request_id

    def row(self, request_id: str) -> Any:
        return self.runs.requests[request_id]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Nothing requested yet."""
    return World(tmp_path)


@pytest.fixture
def new_world(tmp_path: Path) -> Callable[[str], World]:
    """More worlds, by name."""
    return lambda name: World(tmp_path / name)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[dict[str, Any]]]:
    """Return the fields of every log line of an action."""
    caplog.set_level("INFO")
    return lambda action: [r.trainyard_fields for r in caplog.records if r.getMessage() == action]


_WHOLE = candidates._PORTFOLIO


@pytest.fixture(autouse=True)
def one_of_each_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """One candidate of each method: the others are fitted by the same code, and would take the whole budget."""
    methods = [candidate.method for candidate in _WHOLE]
    first = [c for i, c in enumerate(_WHOLE) if c.method not in methods[:i]]
    monkeypatch.setattr(candidates, "_PORTFOLIO", tuple(first))
    monkeypatch.setattr(candidates, "_PATIENCE", 0)  # and nothing is proposed


@pytest.fixture
def whole_portfolio(monkeypatch: pytest.MonkeyPatch, one_of_each_method: None) -> None:
    """All candidates."""
    monkeypatch.setattr(candidates, "_PORTFOLIO", _WHOLE)
