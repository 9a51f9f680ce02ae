"""Training requests as the scheduler sees them: decisions, requests, runs. The trainer's side is in ``runs``.

All ages are measured by the database's clock, so that no service's clock decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

OPEN_STATES = ("queued", "running")
#: Requests whose snapshot counts as used up: their rows are not new any more.
COUNTED_STATES = ("queued", "running", "done", "blocked_by_data")


@dataclass(frozen=True)
class Decision:
    """One evaluation of a policy, worth keeping because its answer or its numbers were new."""

    id: int
    fired: bool
    reason: str
    numbers: Mapping[str, Any]
    request_id: str | None
    at: datetime


@dataclass(frozen=True)
class NewRequest:
    """A request to be inserted. ``settings``: see :meth:`trainyard.policy.Policy.settings`."""

    model_id: int
    reason: str
    upto_seq: int
    new_rows: int
    settings: Mapping[str, Any]
    requested_by: str
    trace_id: str | None
    priority: int = 0
    instance_types: Sequence[str] = ()
    spot: bool | None = None


@dataclass(frozen=True)
class RequestRecord:
    """A training request.

    Attributes:
        priority: the higher is taken first.
        instance_types: where it may run, best first; empty: wherever a trainer is.
        spot: whether spot capacity may serve it; None: as the environment's setting says.
    """

    id: str
    model: str
    reason: str
    state: str
    upto_seq: int
    new_rows: int
    settings: Mapping[str, Any]
    priority: int
    instance_types: Sequence[str]
    spot: bool | None
    attempt: int
    cancel_requested: bool
    error_class: str | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def open(self) -> bool:
        """True while somebody works on it or should."""
        return self.state in OPEN_STATES


@dataclass(frozen=True)
class OpenRequest:
    """An open request and who cares for it.

    Attributes:
        lease_live: a trainer holds it right now.
        instance_id: the instance of that trainer, when it runs on one.
        sent_ago: seconds since its message was last sent, None when it never was.
        sent_at: the same as a Unix time by the database's clock.
        lease_ended_ago: seconds since its lease ran out, None without one.
        send_count: how often its message was sent.
        waited: seconds since it was made.
        priority, instance_types, spot: as in :class:`RequestRecord`.
    """

    id: str
    state: str
    lease_live: bool
    instance_id: str | None
    sent_ago: float | None
    sent_at: float | None
    lease_ended_ago: float | None
    send_count: int
    waited: float = 0.0
    priority: int = 0
    instance_types: Sequence[str] = ()
    spot: bool | None = None


@dataclass(frozen=True)
class RunRecord:
    """One attempt to serve a request; ``progress`` and ``trials`` are JSON as the trainer wrote them.

    ``cost_usd`` is what its instance cost meanwhile, in US dollars: None until it ended, or where no price is known.
    """

    id: str
    request_id: str
    model: str
    attempt: int
    state: str
    worker: str
    instance_id: str | None
    progress: Mapping[str, Any]
    started_at: datetime
    ended_at: datetime | None
    error: str | None
    trials: Sequence[Mapping[str, Any]]
    version: int | None
    instance_type: str | None = None
    cost_usd: float | None = None


class Requests(Protocol):
    """Decisions, requests and runs; every method belongs to the transaction of its ``Records``."""

    def latest_decision(self, model_id: int) -> Decision | None:
        """Return the newest decision."""
        ...

    def decide(
        self, model_id: int, *, fired: bool, reason: str, numbers: Mapping[str, Any], request_id: str | None
    ) -> None:
        """Append a decision."""
        ...

    def decisions(self, model_id: int, limit: int, before: int | None) -> list[Decision]:
        """Return decisions, newest first, from below the id ``before``."""
        ...

    def add(self, request: NewRequest) -> RequestRecord | None:
        """Insert a request; None when an open one for the same model and snapshot exists."""
        ...

    def get(self, request_id: str, *, lock: bool = False) -> RequestRecord | None:
        """Return the request."""
        ...

    def open_for(self, model_id: int, upto_seq: int | None = None) -> RequestRecord | None:
        """Return the newest open request of the model, or the one for that snapshot."""
        ...

    def newest(self, model_id: int, states: Sequence[str]) -> RequestRecord | None:
        """Return the request with the highest snapshot among those in ``states``."""
        ...

    def page(self, model_id: int, limit: int, before: str | None) -> list[RequestRecord]:
        """Return requests, newest first, from behind the request ``before``."""
        ...

    def cancel(self, request_id: str, *, at_once: bool) -> None:
        """Cancel at once, or ask the trainer that holds it."""
        ...

    def cancel_queued(self, model_id: int) -> list[str]:
        """Cancel the model's open requests that nobody holds, ask the holders of the rest; return the ids of all."""
        ...

    def open_requests(self) -> list[OpenRequest]:
        """Return all open requests, oldest first."""
        ...

    def sent(self, request_ids: Sequence[str]) -> None:
        """Note that their messages were sent just now."""
        ...

    def runs(self, model: str | None, limit: int, before: str | None) -> list[RunRecord]:
        """Return runs, newest first, from behind the run ``before``; without their trials."""
        ...

    def run(self, run_id: str) -> RunRecord | None:
        """Return one run with its trials."""
        ...
