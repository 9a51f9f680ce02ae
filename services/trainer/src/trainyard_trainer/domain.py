"""What the trainer decides without touching anything: how a run can end, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.contracts.runs import MAX_ATTEMPTS, Trial
from trainyard.errors import ServiceError, TrainyardError
from trainyard.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.runs import Job

#: How a run fails -> whether another attempt may help. They stand in ``core.run.error_class``, where the store itself
#: writes one more: 'lost', a run whose worker fell silent.
ERROR_CLASSES = {
    "oom": True,  # killed for its memory, or MemoryError
    "crash": True,  # an exception or signal that nobody foresaw
    "timeout": True,  # longer than its budget and the grace, or than any run may take
    "transient": True,  # something outside did not answer for as long as patience lasted
    "data": False,  # the rows allow no model
    "parity": False,  # the exported model does not answer as the trained one does
    "poison": False,  # the request cannot be served at all: unreadable settings, a dataset that is gone
}

#: Exit codes of the training child.
EXIT_DONE = 0
EXIT_DATA = 65
EXIT_PARITY = 66
EXIT_MEMORY = 67
EXIT_CRASH = 70
#: Exit code of a trainer that was asked to stop and had not ended in time: something outside hung.
EXIT_OVERDUE = 75

_BY_EXIT = {EXIT_DATA: "data", EXIT_PARITY: "parity", EXIT_MEMORY: "oom"}
_SIGKILL = 9
#: Of what a child has said last so much is kept.
_MOST_WORDS = 2_000
#: What libraries say when an allocation is refused and they end the process themselves.
_OUT_OF_MEMORY = ("bad_alloc", "MemoryError", "Cannot allocate memory", "Memory allocation", "out of memory")

#: What a run may take beyond its budget before it is killed: reading files, refitting, testing, writing.
GRACE_SECONDS = 60.0
#: What no run may exceed: SQS hides a message for at most 12 h after it was received.
MOST_RUN_SECONDS = 11 * 3600.0
#: Receives of a message after which it is not hidden once more: the fifth makes a dead letter of it.
MOST_LOOKS = 4


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


def class_of_exit(code: int, last_words: str) -> str:
    """Return the error class of a child that ended with ``code`` (negative: minus the signal) on its own.

    Nobody but the kernel's out-of-memory killer sends SIGKILL to a child that we did not kill; and a library that ends
    the process because an allocation was refused says so in its last words.
    """
    if code in _BY_EXIT:
        return _BY_EXIT[code]
    starved = code == -_SIGKILL or any(words in last_words for words in _OUT_OF_MEMORY)
    return "oom" if starved else "crash"


def end_in_words(code: int, last_words: str) -> str:
    """Say how a child ended on its own, with ``code`` as in :func:`class_of_exit`, and what it said last."""
    how = f"ended with {code}" if code >= 0 else f"was ended by signal {-code}"
    if code == -_SIGKILL:
        how += ", as the system does when memory runs out: it needs an instance type with more of it, or fewer rows"
    return f"the training process {how}" + (f": {last_words[-_MOST_WORDS:]}" if last_words.strip() else "")


def worth_retrying(error_class: str, attempt: int) -> bool:
    """Tell whether a request that failed in its ``attempt``-th attempt (from 1) gets another one."""
    return ERROR_CLASSES[error_class] and attempt < MAX_ATTEMPTS


def deadline_seconds(policy: Policy) -> float:
    """Return how long a child may live: the budget, half of it again, and the grace; never longer than any run may.

    A budget of trials takes what time it takes.
    """
    if policy.budget_trials is not None:
        return MOST_RUN_SECONDS
    return min(policy.budget_seconds * 1.5 + GRACE_SECONDS, MOST_RUN_SECONDS)


def policy_of(job: Job) -> Policy:
    """Return the job's settings, read.

    Raises:
        RunFailedError: ``poison``: no trainer of this release can serve them.
    """
    try:
        return Policy.from_dict(job.settings)
    except ServiceError as e:
        wrong = "; ".join(f"{p.column}: expected {p.expected}, got {p.got}" for p in e.details)
        raise RunFailedError("poison", f"the settings of the request cannot be served: {wrong or e.message}") from e


def trial_of(said: Mapping[str, Any]) -> Trial | None:
    """Return the finished trial that a child reports, or None when it is not one that could be stored."""
    number, kind, seconds = said.get("number"), said.get("kind"), said.get("seconds")
    params, metrics = said.get("params"), said.get("metrics")
    if not isinstance(number, int) or not isinstance(kind, str) or not isinstance(seconds, int | float):
        return None
    if not isinstance(params, dict) or not isinstance(metrics, dict):
        return None
    figures = [seconds, *metrics.values()]
    if not all(isinstance(figure, int | float) and math.isfinite(figure) for figure in figures):
        return None
    return Trial(number, kind, params, metrics, float(seconds), chosen=False, pruned=said.get("pruned") is True)


def idle_for_good(depth: int, suited: int, all_open: int) -> bool:
    """Tell whether a trainer may leave: an empty queue alone proves nothing.

    Args:
        depth: messages in the queue, seen or not.
        suited: open requests that this trainer could serve.
        all_open: open requests; without one that suits all wait for other machines, each with a message that only
            passes by here.
    """
    return suited == 0 and depth <= all_open
