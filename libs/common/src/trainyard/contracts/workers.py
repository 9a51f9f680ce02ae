"""Who works: each trainer says every few seconds that it is alive and what it does, and the scheduler reads it.

A silent worker proves nothing about a request, whose lease decides; it tells the reaper which instances are only cost,
the fleet which ones are free, and people why a request waits. All ages are measured by the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

#: What a trainer says of itself. Only 'idle' and 'busy' ones are of use; 'stopping' ones hand back what they hold.
WORKER_STATES = ("idle", "busy", "stopping", "ended")


@dataclass(frozen=True)
class WorkerRecord:
    """A trainer as it was last seen.

    Attributes:
        id: ``host:pid``.
        instance_id, instance_type: where it runs; None where there is no instance.
        state: one of :data:`WORKER_STATES`.
        request_id: the request it works on, None when it is not busy.
        started_at, seen_at: its first and its last word.
        up: seconds since its first word.
        silent: seconds since its last word.
    """

    id: str
    instance_id: str | None
    instance_type: str | None
    state: str
    request_id: str | None
    started_at: datetime
    seen_at: datetime
    up: float
    silent: float


class Attendance(Protocol):
    """The trainer's side. Every method raises :class:`~trainyard.errors.TransientError` when the database is away."""

    def seen(
        self, worker: str, instance_id: str | None, instance_type: str | None, state: str, request_id: str | None
    ) -> None:
        """Note that the worker is alive and what it does; a name that has ended, or moved, begins a new life."""
        ...

    def ended(self, worker: str) -> None:
        """Note that the worker ends; nothing happens when it was never seen."""
        ...


class Workers(Protocol):
    """The scheduler's side, inside its transaction."""

    def all(self, seen_within_seconds: float) -> list[WorkerRecord]:
        """Return the workers whose last word is at most that old, ended ones included, by their first word."""
        ...
