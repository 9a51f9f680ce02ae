"""A sound world in memory: one model with one version, its champion and all objects, queues, an instance at work."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from trainyard.alias_object import (
    AliasObject,
    alias_key,
    artifact_key,
    encode_alias,
    model_key,
    version_key,
    version_object,
)
from trainyard.clock import ManualClock
from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.registry import PublishedAlias, PublishedVersion
from trainyard.doctor import Check, Doctor, Limits, Sources
from trainyard.doctor.evidence import LaunchRow, Leftovers, StandingAlias, StoredVersion, WorkerRow
from trainyard.model import encode
from trainyard.testing.fakes import MemoryBlobs, MemoryFleet, MemoryQueue
from trainyard.testing.fakes.doctor import MemoryDatabase, MemoryMachine
from trainyard.testing.models import sample_model

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ARTIFACT = encode(sample_model(name="late"))
SHA256 = hashlib.sha256(ARTIFACT).hexdigest()
KEY = artifact_key("late", SHA256)
ALIAS = PublishedAlias("late", "champion", 1, KEY, SHA256, len(ARTIFACT), 1.0, 1)
LAUNCH = "launch-1"


class Scene:
    """Parts to damage, and the doctor before them."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.database = MemoryDatabase(time=NOW)
        self.blobs = MemoryBlobs(self.clock)
        self.dead = MemoryQueue(self.clock)
        self.training = MemoryQueue(self.clock, dead_letters=self.dead)
        self.arrived = MemoryQueue(self.clock)
        self.queues = {"training": (self.training, self.dead), "arrived": (self.arrived, MemoryQueue(self.clock))}
        self.fleet: MemoryFleet | None = MemoryFleet()
        self.machine: MemoryMachine | None = MemoryMachine()
        self._make_sound()

    def _make_sound(self) -> None:
        self.database.models = ["late"]
        self.database.published_answer = [PublishedVersion("late", 1, SHA256, len(ARTIFACT))]
        self.database.stored_answer = [StoredVersion("late", 1, KEY, len(ARTIFACT))]
        self.database.aliases_answer = [StandingAlias(ALIAS, 60.0)]
        self.blobs.put(KEY, ARTIFACT)
        self.blobs.put(model_key("late"), b"")
        self.blobs.put(version_key("late", 1), encode_alias(version_object("late", 1, SHA256, len(ARTIFACT))))
        self.publish(ALIAS)
        assert self.fleet is not None
        instance = self.fleet.launch(LAUNCH, LaunchSpec(("c7i.large",), spot=True))
        self.instance_id = instance.instance_id
        self.know(worker=WorkerRow("host:1", instance.instance_id, "busy", 2.0))

    def publish(self, alias: PublishedAlias) -> None:
        """Write an alias object."""
        self.blobs.put(
            alias_key(alias.model, alias.alias),
            encode_alias(
                AliasObject(
                    alias.model,
                    alias.alias,
                    alias.version,
                    alias.key,
                    alias.sha256,
                    alias.size,
                    alias.weight,
                    alias.seq,
                )
            ),
        )

    def know(
        self, *, state: str = "launched", age: float = 900.0, worker: WorkerRow | None = None, launch: str = LAUNCH
    ) -> None:
        """Let the database know one launch and one worker."""
        launches = [LaunchRow(launch, state, self.instance_id, age)]
        self.database.leftovers_answer = Leftovers(launches=launches, workers=[] if worker is None else [worker])

    def examine(self, limits: Limits | None = None) -> dict[str, Check]:
        """Return the checks by id; whatever did not pass says how to mend it, and the report says the same in sum."""
        sources = Sources(self.database, self.blobs, self.queues, self.fleet, self.machine)
        report = Doctor(sources, self.clock).examine(limits)
        assert report.healthy == all(check.passed for check in report.checks)
        assert all(check.mend for check in report.checks if not check.passed)
        assert not any(check.mend or check.problems for check in report.checks if check.passed)
        return {check.id: check for check in report.checks}

    def problems(self, limits: Limits | None = None) -> dict[str, list[str]]:
        """Return the problems of the checks that did not pass."""
        return {ident: check.problems for ident, check in self.examine(limits).items() if not check.passed}
