"""Training requests as the scheduler sees them: decisions, requests, runs. The trainer's side is in ``runs``.

All ages are measured by the database's clock, so that no service's clock decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trainyard.contracts.runs import Line

OPEN_STATES = ("queued", "running")
#: Requests whose snapshot counts as used up: their rows are not new any more.
COUNTED_STATES = ("queued", "running", "done", "blocked_by_data")
STATES = ("queued", "running", "done", "failed", "cancelled", "blocked_by_data")
#: ``requested_by`` of the requests that policies make; people's carry the id of an API key.
POLICY_ACTOR = "policy"


@dataclass(frozen=True)
class Decision:
    """Evaluations of a policy in a row that gave the same answer.

    Attributes:
        numbers: those of the last one.
        at, last_at: when the first and the last were made.
        times: how many there were.
    """

    id: int
    fired: bool
    reason: str
    numbers: Mapping[str, Any]
    request_id: str | None
    at: datetime
    times: int
    last_at: datetime


@dataclass(frozen=True)
class Refused:
    """The newest request that ended without using its rows up.

    Attributes:
        state: 'failed' or 'cancelled'.
        at: when it ended.
        in_a_row: how many ended so since the last one that did not.
    """

    state: str
    upto_seq: int
    at: datetime
    in_a_row: int


@dataclass(frozen=True)
class Standing:
    """Where a model stands: what its policy is held against. All times are of the database's clock.

    Attributes:
        last_seq: the newest committed row of the dataset.
        used_seq: the newest row of any request that was neither failed nor cancelled; 0 at first.
        trained_rows: rows of the newest trained snapshot, None before the first version.
        new_labels: predictions that were labelled since the last request that counts; None when it was not asked for.
        counted_at: when the last request that ended as done or blocked was made; at first, when the model was.
        asked_at: when the policy made its last request, whatever came of it.
        cron_upto: cron times up to here have been answered.
        open_request: the id of the model's newest open request.
    """

    now: datetime
    last_seq: int
    used_seq: int
    trained_rows: int | None
    new_labels: int | None
    counted_at: datetime
    asked_at: datetime | None
    cron_upto: datetime
    open_request: str | None
    refused: Refused | None


@dataclass(frozen=True)
class NewRequest:
    """A request to be inserted. ``settings``: see :meth:`trainyard.policy.Policy.settings`.

    ``trace_id``: of whoever asks; None: of the newest batch in the snapshot, whose rows made the policy ask.
    ``reproduces``: the version to fit again, with ``upto_seq`` 0, for it takes no rows of its own.
    """

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
    reproduces: int | None = None


@dataclass(frozen=True)
class RequestRecord:
    """A training request.

    Attributes:
        priority: the higher is taken first.
        instance_types: where it may run, best first; empty: wherever a trainer is.
        spot: whether spot capacity may serve it; None: as the environment's setting says.
        error_class: of the last attempt that failed: transient, data, poison, oom, crash, timeout or lost.
        outcome: why it is in its state, in words; of each terminal state, else of the last failed attempt, if any.
        version: what came of it.
        reproduces: the version that it fits again; None: it trains a new one. Of a reproduction comes no version, and
            its ``upto_seq`` is 0.
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
    outcome: str | None
    version: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    reproduces: int | None = None

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
        invites: further workers that its search has room for.
        search_left: seconds of its search's budget that are left, 0 while others cannot join it.
        helpers: the instances of those who help; None for one that runs on none.
        priority, instance_types, spot, attempt, cancel_requested: as in :class:`RequestRecord`.
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
    attempt: int = 0
    cancel_requested: bool = False
    invites: int = 0
    search_left: float = 0.0
    helpers: Sequence[str | None] = ()


@dataclass(frozen=True)
class Attempt:
    """A run, as far as it explains its request; ``seconds`` is how long it took, or has taken so far."""

    run_id: str
    attempt: int
    state: str
    worker: str
    error_class: str | None
    error: str | None
    seconds: float


@dataclass(frozen=True)
class Position:
    """Where a request stands among all others; seconds by the clock of the database.

    Attributes:
        waited: since it was made.
        waiting: requests that nobody works on, this one included.
        running: requests that somebody works on.
        holder: who works on it, or did last.
        lease_left: until its lease runs out, negative since it has; None without one.
        sent_ago: since its message was last sent, None when it never was.
        unsent: its message waits in the outbox.
        mean_seconds: what the model's last trainings took, else those of all models; None before the first.
        attempts: its runs, oldest first.
    """

    waited: float
    waiting: int
    running: int
    holder: str | None
    lease_left: float | None
    send_count: int
    sent_ago: float | None
    unsent: bool
    mean_seconds: float | None
    attempts: Sequence[Attempt]


@dataclass(frozen=True)
class RunRecord:
    """One attempt to serve a request; ``progress`` and ``trials`` are JSON as the trainer wrote them.

    ``metric`` is that of the request's settings; ``left_out`` are the columns that its version does not learn from.
    ``cost_usd`` is what its instance cost meanwhile, in US dollars: None until it ended, or where no price is known.
    ``environment`` is where it computed (``python``, ``cpu``, ``packages``), None until it is done; ``reproduction``
    what came of fitting a version again (:class:`trainyard.contracts.runs.Reproduction`), None of any other run.
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
    error_class: str | None
    error: str | None
    trials: Sequence[Mapping[str, Any]]
    version: int | None
    instance_type: str | None = None
    cost_usd: float | None = None
    metric: str = "auto"
    left_out: Sequence[Mapping[str, Any]] = ()
    environment: Mapping[str, Any] | None = None
    reproduction: Mapping[str, Any] | None = None


class Requests(Protocol):
    """Decisions, requests and runs; every method belongs to the transaction of its ``Records``.

    What a policy asks about is trainings: a reproduction is none of them.
    """

    def standing(self, model_id: int, *, labels: bool) -> Standing:
        """Return where the model stands; counting new labels costs more the more there are: only if ``labels``."""
        ...

    def cron_answered(self, model_id: int) -> None:
        """Note that no cron time up to now is due any more."""
        ...

    def decide(
        self, model_id: int, *, fired: bool, reason: str, numbers: Mapping[str, Any], request_id: str | None
    ) -> None:
        """Append a decision."""
        ...

    def decide_again(self, model_id: int, *, reason: str, numbers: Mapping[str, Any]) -> bool:
        """Count one more evaluation that did not fire if the newest decision says the same; tell whether it does."""
        ...

    def decisions(self, model_id: int, limit: int, before: int | None) -> list[Decision]:
        """Return decisions, newest first, from below the id ``before``."""
        ...

    def add(self, request: NewRequest) -> RequestRecord | None:
        """Insert a request; None when an open one for the same model and snapshot exists, or an open reproduction."""
        ...

    def get(self, request_id: str, *, lock: bool = False) -> RequestRecord | None:
        """Return the request."""
        ...

    def open_for(self, model_id: int, upto_seq: int | None = None) -> RequestRecord | None:
        """Return the newest open training of the model, or the one for that snapshot."""
        ...

    def reproducing(self, model_id: int) -> RequestRecord | None:
        """Return the model's open reproduction."""
        ...

    def newest(self, model_id: int, states: Sequence[str]) -> RequestRecord | None:
        """Return the training with the highest snapshot among those in ``states``."""
        ...

    def page(
        self, limit: int, before: str | None, *, model_id: int | None = None, state: str | None = None
    ) -> list[RequestRecord]:
        """Return requests, newest first, from behind the request ``before``; of one model or state, or of all."""
        ...

    def page_texts(
        self, limit: int, before: str | None, *, model_id: int | None = None, state: str | None = None
    ) -> list[tuple[str, str]]:
        """Return the same page as pairs of id and JSON object: the fields of the record by name, times ISO 8601 in UTC.

        For long lists: no record is made, the objects are passed on as they are.
        """
        ...

    def position(self, request_id: str) -> Position:
        """Return where an existing request stands."""
        ...

    def cancel(self, request_id: str, *, at_once: bool, why: str) -> None:
        """Cancel at once, and keep ``why``; or ask the trainer that holds it."""
        ...

    def cancel_queued(self, model_id: int) -> list[str]:
        """Cancel the model's open requests that nobody holds, ask the holders of the rest; return the ids of all."""
        ...

    def open_requests(self) -> list[OpenRequest]:
        """Return all open requests, oldest first."""
        ...

    def neglected(self, *, silent_seconds: float, sent_before: float | None) -> list[OpenRequest]:
        """Return open requests that nobody holds and whose message may be lost, oldest first.

        Those that were never sent, or not within ``silent_seconds``, or not since the Unix time ``sent_before``, or not
        since their holder's lease ran out.
        """
        ...

    def any_open(self) -> bool:
        """Tell whether there is an open request."""
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

    def run_lines(self, run_id: str, limit: int, before: int | None) -> list[Line]:
        """Return what a run has said, newest first, behind the line ``before``."""
        ...
