"""The scheduler's records: one transaction over all rooms, and the store that opens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from trainyard.contracts.answers import Answers
    from trainyard.contracts.api_keys import ApiKeys
    from trainyard.contracts.copies import Copies
    from trainyard.contracts.costs import Costs
    from trainyard.contracts.glances import Glances
    from trainyard.contracts.launches import Launches
    from trainyard.contracts.monitoring import Alarms, Monitoring
    from trainyard.contracts.outbox import Outbox
    from trainyard.contracts.registry import Models, Versions
    from trainyard.contracts.requests import Requests
    from trainyard.contracts.tallies import Tallies
    from trainyard.contracts.upkeep import Upkeep
    from trainyard.contracts.workers import Workers


@dataclass(frozen=True)
class Event:
    """Something that happened, for listeners."""

    id: int
    kind: str
    subject: str
    payload: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True)
class AuditEntry:
    """A change, who made it, and its place in the chain (hashes in hex)."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]
    previous_hash: str
    hash: str


class Journal(Protocol):
    """What a change leaves behind, and how it is read."""

    def announce(self, kind: str, subject: str, payload: Mapping[str, Any]) -> None:
        """Record an event and wake listeners at COMMIT."""
        ...

    def audit(self, *, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Append to the hash-chained audit log."""
        ...

    def events(self, after: int, limit: int) -> list[Event]:
        """Return events with a higher id, oldest first."""
        ...

    def last_event(self) -> int:
        """Return the highest event id, 0 when there is none."""
        ...

    def audit_page(self, limit: int, before: int | None) -> list[AuditEntry]:
        """Return audit entries, newest first, from below the id ``before``."""
        ...


class Records(Protocol):
    """Everything the scheduler reads and writes, inside one transaction."""

    models: Models
    versions: Versions
    requests: Requests
    outbox: Outbox
    launches: Launches
    workers: Workers
    costs: Costs
    keys: ApiKeys
    answers: Answers
    journal: Journal
    alarms: Alarms
    upkeep: Upkeep
    copies: Copies
    monitoring: Monitoring
    glances: Glances
    tallies: Tallies


class Store(Protocol):
    """Opens transactions."""

    def begin(self) -> AbstractContextManager[Records]:
        """Open a transaction: COMMIT when the block ends, ROLLBACK when it raises.

        Raises:
            TransientError: the database is away, restarting or busy. When COMMIT itself failed its outcome is unknown.
        """
        ...
