"""What the trainer decides without touching anything: how a run can end, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from trainyard.contracts.runs import MAX_ATTEMPTS
from trainyard.errors import TrainyardError

#: How a run fails -> whether another attempt may help. They stand in ``core.run.error_class``.
ERROR_CLASSES = {
    "oom": True,  # killed for its memory, or MemoryError
    "crash": True,  # an exception or signal that nobody foresaw
    "timeout": True,  # longer than its budget and the grace
    "transient": True,  # something outside did not answer for as long as the lease lasted
    "data": False,  # the rows allow no model
    "parity": False,  # the exported model does not answer as the trained one does
}

#: Exit codes of the training child.
EXIT_DONE = 0
EXIT_DATA = 65
EXIT_PARITY = 66
EXIT_MEMORY = 67
EXIT_CRASH = 70

_BY_EXIT = {EXIT_DATA: "data", EXIT_PARITY: "parity", EXIT_MEMORY: "oom"}
_SIGKILL = 9

#: What a run may take beyond its budget before it is killed: reading files, refitting, testing, writing.
GRACE_SECONDS = 60.0


class DataError(TrainyardError):
    """The rows allow no model; the message tells the owner of the data why."""


class ParityError(TrainyardError):
    """The exported model does not answer as the library's own; it must not be published."""


@dataclass
class RunFailedError(TrainyardError):
    """The run has failed: its class (of :data:`ERROR_CLASSES`) and words for people."""

    error_class: str
    message: str

    def __post_init__(self) -> None:
        super().__init__(f"{self.error_class}: {self.message}")


class BlockedError(TrainyardError):
    """The rows allow no version worth having, through nobody's fault; the message says why."""


class CancelledError(TrainyardError):
    """Somebody asked for the run to be cancelled."""


class StoppedError(TrainyardError):
    """This trainer has to stop (SIGTERM or a spot notice); the request goes back unharmed."""


def class_of_exit(code: int) -> str:
    """Return the error class of a child that ended with ``code`` (negative: minus the signal) on its own.

    Nobody but the kernel's out-of-memory killer sends SIGKILL to a child that we did not kill.
    """
    return "oom" if code == -_SIGKILL else _BY_EXIT.get(code, "crash")


def worth_retrying(error_class: str, attempt: int) -> bool:
    """Tell whether a request that failed in its ``attempt``-th attempt (from 1) gets another one."""
    return ERROR_CLASSES[error_class] and attempt < MAX_ATTEMPTS


def deadline_seconds(budget_seconds: float) -> float:
    """Return how long a child may live: the budget, half of it again, and the grace."""
    return budget_seconds * 1.5 + GRACE_SECONDS
