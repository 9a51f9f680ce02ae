"""What the trainer works with: its settings, the wish that it stops, and everything outside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.fleet import Fleet
    from trainyard.contracts.queue import Queue
    from trainyard.contracts.runs import Runs
    from trainyard.contracts.searches import Searches
    from trainyard.contracts.snapshots import Snapshots
    from trainyard.contracts.studies import Studies

    #: Takes what a training process says of its study, and what takes an answer to it.
    Answer = Callable[[Mapping[str, Any]], None]
    Hear = Callable[[Mapping[str, Any], Answer], None]


class TrainingChild(Protocol):
    """A process that trains (:class:`trainyard_trainer.children.ChildProcess`)."""

    def begin(self, directory: Path, hear: Hear) -> None:
        """Give it its one job; ``hear`` is called with what it says of its study, and what takes an answer."""
        ...

    def wait(self, seconds: float) -> int | None:
        """Return its exit code, or None when it still runs after ``seconds``."""
        ...

    def progress(self) -> Mapping[str, Any] | None:
        """Return what it last said about its work, if that is new."""
        ...

    def trials(self) -> Sequence[Mapping[str, Any]]:
        """Return the trials that it has reported finished since the last call, as it said them."""
        ...

    def wrote(self) -> Sequence[str]:
        """Return the lines that it, or a library in it, has written for people since the last call."""
        ...

    def kill(self) -> None:
        """End it and all that it has started at once, and wait for that."""
        ...

    def last_words(self) -> str:
        """Return the end of what it wrote to standard error."""
        ...


class Children(Protocol):
    """Where children come from (:class:`trainyard_trainer.children.ChildProcesses`)."""

    def warm(self) -> None:
        """See to it that one is started and waits for a job."""
        ...

    def take(self) -> TrainingChild:
        """Return one that takes a job."""
        ...

    def close(self) -> None:
        """End the one that waits, if any."""
        ...


class Presence(Protocol):
    """Who tells the others what this trainer does (:class:`trainyard_trainer.edges.WorkerPresence`)."""

    def busy(self, request_id: str) -> None:
        """It works on a request."""
        ...

    def idle(self) -> None:
        """It waits for a request."""
        ...


class Stop:
    """The wish that this trainer ends; set by a signal or a spot notice, looked at by whoever it concerns.

    It is set inside signal handlers: it takes no lock and wakes nobody.
    """

    def __init__(self) -> None:
        self.reason: str | None = None

    def request(self, reason: str) -> None:
        """Ask for the end; the first reason stays."""
        self.reason = self.reason or reason


@dataclass(frozen=True)
class TrainerSettings:
    """Who this trainer is, how long it waits for what (seconds), and which artifacts are copied into the database."""

    worker: str
    instance_id: str | None
    instance_type: str | None
    work_dir: Path
    lease_seconds: int
    beat_seconds: float
    idle_seconds: float
    wait_seconds: int = 2
    copy_most_bytes: int = 0


@dataclass(frozen=True)
class Outside:
    """Everything the trainer talks to."""

    queue: Queue
    runs: Runs
    snapshots: Snapshots
    studies: Studies
    searches: Searches
    blobs: BlobStore
    fleet: Fleet
    children: Children
    presence: Presence
    clock: Clock
