"""What the doctor asks, source by source: the database, the machine it runs on; queues, blobs and fleet as they are.

Everything here only reads. Ages are in seconds, by the clock of the database (of files: by that of their machine).
Every method raises :class:`~trainyard.errors.TransientError` when its source does not answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trainyard.contracts.copies import StoreLife
    from trainyard.contracts.registry import PublishedAlias, PublishedVersion


@dataclass(frozen=True)
class LedgerGap:
    """A batch whose rows are not what the ledger says."""

    dataset: str
    batch_id: str
    ledger_rows: int
    rows: int
    ledger_checksum: str
    checksum: str


@dataclass(frozen=True)
class Unsummed:
    """Batches of a dataset that have no checksum yet, or none again; ``oldest``: for how long, in seconds."""

    dataset: str
    batches: int
    oldest: float


@dataclass(frozen=True)
class Ledger:
    """Gaps, one sentence for each dataset with rows or tables amiss, and how many rows of how many were looked at."""

    gaps: Sequence[LedgerGap] = ()
    strays: Sequence[str] = ()
    unsummed: Sequence[Unsummed] = ()
    rows_seen: int = 0
    rows_total: int = 0


@dataclass(frozen=True)
class OpenWork:
    """A request that has not ended: what it waits for, and whether nothing will come of that."""

    request_id: str
    model: str
    state: str
    waits_for: str
    stuck: bool


@dataclass(frozen=True)
class JudgedVersion:
    """A version as far as its honesty goes; ``holdout`` as the trainer wrote it."""

    model: str
    version: int
    request_id: str
    fence: int
    winner_fence: int
    request_state: str
    holdout: Mapping[str, Any]


@dataclass(frozen=True)
class Versions:
    """The newest versions by model and number, how many there are, and sentences about requests and their versions."""

    newest: Sequence[JudgedVersion] = ()
    total: int = 0
    miscounted: Sequence[str] = ()


@dataclass(frozen=True)
class StandingAlias:
    """An alias with its artifact, and how long ago it was moved."""

    published: PublishedAlias
    moved_seconds_ago: float


@dataclass(frozen=True)
class Traffic:
    """What the database knows about messages.

    Attributes:
        open_requests: requests that have not ended.
        waiting: messages in the outbox, by queue.
        oldest_waiting: age of the oldest of them, 0 when there is none.
        quiet: for each queue, how long ago its work left a trace in the database; queues without one are missing.
    """

    open_requests: int = 0
    waiting: Mapping[str, int] = field(default_factory=dict)
    oldest_waiting: float = 0.0
    quiet: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """The newest part of the prediction log, and the labels.

    Attributes:
        seen, total: how many of how many entries were looked at.
        doubled: ids that stand in the log more than once.
        strangers: model, version and number of entries for versions that no model of that name has.
        relabelled: prediction ids with more than one current label.
        parked: labels whose prediction is not in the log, and the age of the oldest.
    """

    seen: int = 0
    total: int = 0
    doubled: Sequence[str] = ()
    strangers: Sequence[tuple[str, int, int]] = ()
    relabelled: Sequence[str] = ()
    parked: int = 0
    parked_oldest: float = 0.0


@dataclass(frozen=True)
class StoredVersion:
    """A version's artifact as the database knows it.

    ``deleted``: its model was, so nobody needs it any more. ``lost``: it is known to be gone with what the store held.
    """

    model: str
    version: int
    key: str
    size: int
    deleted: bool = False
    lost: bool = False


@dataclass(frozen=True)
class Session:
    """A database session that holds something up: idle inside a transaction, or on an advisory lock.

    ``pid`` is None for a lock of a prepared transaction.
    """

    pid: int | None
    application: str
    what: str
    seconds: float


@dataclass(frozen=True)
class LeftRun:
    """A run that counts as running although its request has ended or belongs to another run."""

    run_id: str
    request_id: str
    request_state: str


@dataclass(frozen=True)
class LaunchRow:
    """A launch of the fleet's ledger; ``age`` is that of its state."""

    id: str
    state: str
    instance_id: str | None
    age: float


@dataclass(frozen=True)
class WorkerRow:
    """A trainer's row; ``silent`` is how long ago it was last seen."""

    id: str
    instance_id: str | None
    state: str
    silent: float


@dataclass(frozen=True)
class Leftovers:
    """What the database knows about processes: sessions, runs, every launch that instances may belong to, workers."""

    sessions: Sequence[Session] = ()
    runs: Sequence[LeftRun] = ()
    launches: Sequence[LaunchRow] = ()
    workers: Sequence[WorkerRow] = ()


@dataclass(frozen=True)
class Audit:
    """Sentences about broken places of the chain, and how many entries of how many were looked at."""

    breaks: Sequence[str] = ()
    seen: int = 0
    total: int = 0


class Database(Protocol):
    """What the doctor asks the database. ``most`` bounds what is looked at, the newest first; None: everything."""

    def now(self) -> datetime:
        """Return the database's time."""
        ...

    def ledger(self, most_rows: int | None) -> Ledger:
        """Compare the datasets' rows with the ledger."""
        ...

    def open_requests(self) -> Sequence[OpenWork]:
        """Return every request that has not ended, oldest first."""
        ...

    def versions(self, most: int | None) -> Versions:
        """Return versions as far as honesty goes."""
        ...

    def aliases(self) -> Sequence[StandingAlias]:
        """Return every alias with its artifact and its age."""
        ...

    def traffic(self) -> Traffic:
        """Return what messages there should be."""
        ...

    def requests_open(self, ids: Sequence[str]) -> Mapping[str, bool]:
        """Return for each training request of these ids (UUIDs) whether it is open; ids of no request are left out."""
        ...

    def predictions(self, most: int | None) -> Predictions:
        """Look through the prediction log."""
        ...

    def stored_versions(self) -> Sequence[StoredVersion]:
        """Return every version's artifact, deleted models' included."""
        ...

    def store_lives(self) -> Sequence[StoreLife]:
        """Return the lives of the object store, the oldest first."""
        ...

    def copies(self) -> tuple[int, int]:
        """Return how many live artifacts have a copy beside the store, and how many there are."""
        ...

    def published(self) -> tuple[Sequence[str], Sequence[PublishedVersion]]:
        """Return the names of all models, and all their versions."""
        ...

    def open_models(self) -> frozenset[str]:
        """Return the models with an open request, whose runs may still publish."""
        ...

    def leftovers(self, idle_seconds: float, launch_ids: Sequence[str]) -> Leftovers:
        """Return sessions that hold something for that long, and what should run: open launches and these ones."""
        ...

    def audit(self, most: int | None) -> Audit:
        """Compute the chain again."""
        ...


@dataclass(frozen=True)
class Leftover:
    """A file or directory, and how long ago it was written."""

    name: str
    age: float


class Machine(Protocol):
    """The machine that the doctor runs on: files of trainers and predictors that share it."""

    def work_directories(self) -> list[Leftover] | None:
        """Return the trainers' work directories, one for each instance; None when they are not on this machine."""
        ...

    def unsent_segments(self) -> list[Leftover] | None:
        """Return segments of the prediction log that no queue has; None when they are not on this machine."""
        ...
