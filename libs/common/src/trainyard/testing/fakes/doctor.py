"""A sound world for the doctor, which a test damages by changing one of its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trainyard.doctor.evidence import (
    Audit,
    Database,
    Ledger,
    Leftover,
    Leftovers,
    Machine,
    OpenWork,
    Predictions,
    StandingAlias,
    StoredVersion,
    Traffic,
    Versions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.copies import StoreLife
    from trainyard.contracts.registry import PublishedVersion


@dataclass
class MemoryDatabase(Database):
    """Answers with its attributes; ``outage`` is raised by every call while it is set. ``asked`` notes the limits."""

    time: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    ledger_answer: Ledger = field(default_factory=Ledger)
    open_answer: list[OpenWork] = field(default_factory=list)
    versions_answer: Versions = field(default_factory=Versions)
    aliases_answer: list[StandingAlias] = field(default_factory=list)
    traffic_answers: list[Traffic] = field(default_factory=lambda: [Traffic()])
    requests: dict[str, bool] = field(default_factory=dict)
    predictions_answer: Predictions = field(default_factory=Predictions)
    stored_answer: list[StoredVersion] = field(default_factory=list)
    lives: list[StoreLife] = field(default_factory=list)
    copies_answer: tuple[int, int] = (0, 0)
    models: list[str] = field(default_factory=list)
    published_answer: list[PublishedVersion] = field(default_factory=list)
    busy: frozenset[str] = frozenset()
    leftovers_answer: Leftovers = field(default_factory=Leftovers)
    audit_answer: Audit = field(default_factory=Audit)
    outage: Exception | None = None
    asked: list[object] = field(default_factory=list)

    def now(self) -> datetime:
        """Return the time."""
        self._answer(None)
        return self.time

    def ledger(self, most_rows: int | None) -> Ledger:
        """Return the comparison."""
        self._answer(most_rows)
        return self.ledger_answer

    def open_requests(self) -> Sequence[OpenWork]:
        """Return the open requests."""
        self._answer(None)
        return self.open_answer

    def versions(self, most: int | None) -> Versions:
        """Return the versions."""
        self._answer(most)
        return self.versions_answer

    def aliases(self) -> Sequence[StandingAlias]:
        """Return the aliases."""
        self._answer(None)
        return self.aliases_answer

    def traffic(self) -> Traffic:
        """Return one traffic after the other, the last for ever."""
        self._answer(None)
        return self.traffic_answers.pop(0) if len(self.traffic_answers) > 1 else self.traffic_answers[0]

    def requests_open(self, ids: Sequence[str]) -> Mapping[str, bool]:
        """Return those that are known."""
        self._answer(tuple(ids))
        return {ident: self.requests[ident] for ident in ids if ident in self.requests}

    def predictions(self, most: int | None) -> Predictions:
        """Return the log's summary."""
        self._answer(most)
        return self.predictions_answer

    def stored_versions(self) -> Sequence[StoredVersion]:
        """Return the artifacts."""
        self._answer(None)
        return self.stored_answer

    def store_lives(self) -> Sequence[StoreLife]:
        """Return the lives."""
        self._answer(None)
        return self.lives

    def copies(self) -> tuple[int, int]:
        """Return the numbers."""
        self._answer(None)
        return self.copies_answer

    def published(self) -> tuple[Sequence[str], Sequence[PublishedVersion]]:
        """Return models and versions."""
        self._answer(None)
        return self.models, self.published_answer

    def open_models(self) -> frozenset[str]:
        """Return the models that are trained."""
        self._answer(None)
        return self.busy

    def leftovers(self, idle_seconds: float, launch_ids: Sequence[str]) -> Leftovers:  # noqa: ARG002 - the real one's
        """Return what is left."""
        self._answer(tuple(launch_ids))
        return self.leftovers_answer

    def audit(self, most: int | None) -> Audit:
        """Return the chain's state."""
        self._answer(most)
        return self.audit_answer

    def _answer(self, asked: object) -> None:
        self.asked.append(asked)
        if self.outage is not None:
            raise self.outage


@dataclass
class MemoryMachine(Machine):
    """Directories and segments as a test names them; None: on other machines."""

    directories: list[Leftover] | None = field(default_factory=list)
    segments: list[Leftover] | None = field(default_factory=list)

    def work_directories(self) -> list[Leftover] | None:
        """Return the directories."""
        return self.directories

    def unsent_segments(self) -> list[Leftover] | None:
        """Return the segments."""
        return self.segments
