"""What the trainer decides: error classes, deadlines, who may leave, what is poison and what is a trial."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from trainyard.contracts.runs import MAX_ATTEMPTS, Job, Lease, Trial
from trainyard.policy import Policy
from trainyard_trainer.domain import (
    ERROR_CLASSES,
    EXIT_CRASH,
    EXIT_DATA,
    EXIT_DONE,
    EXIT_MEMORY,
    EXIT_OVERDUE,
    EXIT_PARITY,
    GRACE_SECONDS,
    MOST_RUN_SECONDS,
    RunFailedError,
    class_of_exit,
    deadline_seconds,
    end_in_words,
    idle_for_good,
    policy_of,
    trial_of,
    worth_retrying,
)

TRIAL = Trial(3, "tree_ensemble", {"num_leaves": 31, "length": 12}, {"loss": 0.25}, 1.5, chosen=False)


def job(settings: Any) -> Job:
    """Return a claimed request with these settings."""
    given = {"model_id": 1, "model": "m", "dataset_id": 1, "dataset": "d", "label": "y", "task": "auto", "upto_seq": 9}
    known = {"champion": None, "known_seq": 0, "known_version": 0, "trace_id": None}
    return Job(lease=Lease("r", "u", 1), attempt=1, settings=settings, **given, **known)


@pytest.mark.parametrize(
    ("code", "last_words", "error_class"),
    [
        (EXIT_DATA, "", "data"),
        (EXIT_DATA, "MemoryError", "data"),
        (EXIT_PARITY, "", "parity"),
        (EXIT_MEMORY, "", "oom"),
        (-9, "", "oom"),
        (9, "", "crash"),
        (-11, "", "crash"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", "oom"),
        (1, "MemoryError", "oom"),
        (1, "OSError: [Errno 12] Cannot allocate memory", "oom"),
        (1, "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.", "oom"),
        (1, "libgomp: out of memory trying to allocate 16 bytes", "oom"),
        (EXIT_CRASH, "KeyError: 1", "crash"),
        (-15, "", "crash"),
    ],
)
def test_how_a_child_ended(code: int, last_words: str, error_class: str) -> None:
    """Its own exit codes count first; SIGKILL and words about memory are 'oom', everything else is a crash."""
    assert class_of_exit(code, last_words) == error_class


def test_exit_codes_are_a_contract() -> None:
    """Children of tests, and whoever watches a trainer, rely on the numbers."""
    codes = (EXIT_DONE, EXIT_DATA, EXIT_PARITY, EXIT_MEMORY, EXIT_CRASH, EXIT_OVERDUE)
    assert codes == (0, 65, 66, 67, 70, 75)
    assert class_of_exit(EXIT_CRASH, "") == "crash"


def test_what_is_worth_another_attempt() -> None:
    """Faults of the machine are tried again until the attempts are used up; faults of data or request never are."""
    again = {name for name in ERROR_CLASSES if worth_retrying(name, 1)}
    assert again == {"oom", "crash", "timeout", "transient"}
    assert set(ERROR_CLASSES) - again == {"data", "parity", "poison"}
    assert worth_retrying("oom", MAX_ATTEMPTS - 1)
    assert not worth_retrying("oom", MAX_ATTEMPTS)
    assert not worth_retrying("poison", 1)


def test_how_long_a_child_may_live() -> None:
    """One and a half budgets and a minute, and never longer than SQS could hide the message."""
    assert deadline_seconds(Policy(budget_seconds=20.0)) == 90.0
    assert GRACE_SECONDS == 60.0
    assert deadline_seconds(Policy(budget_seconds=11 * 3600.0)) == MOST_RUN_SECONDS == 39_600.0
    assert deadline_seconds(Policy(budget_trials=3)) == MOST_RUN_SECONDS


def test_settings_are_read() -> None:
    """What the scheduler has copied from a policy comes back as that policy."""
    policy = replace(Policy(), kinds=("tree_ensemble",), budget_seconds=7.0)
    assert policy_of(job(policy.settings())) == policy


STARVED = ", as the system does when memory runs out: it needs an instance type with more of it, or fewer rows"


@pytest.mark.parametrize(
    ("code", "last_words", "told"),
    [
        (1, "no such file", "the training process ended with 1: no such file"),
        (1, "a" + "x" * 2_000, "the training process ended with 1: " + "x" * 2_000),
        (0, " \n", "the training process ended with 0"),
        (-11, "", "the training process was ended by signal 11"),
        (-9, "", "the training process was ended by signal 9" + STARVED),
    ],
)
def test_how_a_child_ended_in_words(code: int, last_words: str, told: str) -> None:
    """The code or the signal, what it said last, and for SIGKILL what that means and what helps."""
    assert end_in_words(code, last_words) == told


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kinds": ["oracle"]}, "kinds: expected a list of some of linear, neural_network, tree_ensemble"),
        ({"kinds": ["linear"], "budget_seconds": "long"}, "budget_seconds: expected a number"),
        ({"quantum": True}, "quantum: expected one of the keys"),
        ([1, 2], "expected an object, got"),
        ("{}", "expected an object, got"),
        (None, "expected an object, got None"),
        ({"gate": 5}, "gate: expected"),
        ({"seed": -1, "metric": "luck"}, "metric: expected .*; .*seed: expected"),
    ],
)
def test_settings_that_nobody_can_serve_are_poison(settings: Any, words: str) -> None:
    """Every problem is named, and no other attempt could help."""
    with pytest.raises(RunFailedError, match=words) as failed:
        policy_of(job(settings))
    assert failed.value.error_class == "poison"
    assert str(failed.value).startswith("poison: the settings of the request cannot be served: ")


def test_every_problem_of_the_settings_is_told_apart() -> None:
    """Two problems are two sentences, divided by a semicolon."""
    with pytest.raises(RunFailedError) as failed:
        policy_of(job({"budget_seconds": "long", "quantum": True}))
    told = failed.value.message.partition("cannot be served: ")[2].split("; ")
    assert sorted(words.partition(": expected ")[0] for words in told) == ["policy.budget_seconds", "policy.quantum"]


def test_a_reported_trial() -> None:
    """What the child says of a finished trial is taken as it is, but never as chosen already."""
    said = asdict(replace(TRIAL, chosen=True))
    assert trial_of(said) == TRIAL
    assert trial_of({**said, "seconds": 2}) == replace(TRIAL, seconds=2.0)
    assert trial_of({**said, "metrics": {}}) == replace(TRIAL, metrics={})


@pytest.mark.parametrize("field", ["number", "kind", "params", "metrics", "seconds"])
@pytest.mark.parametrize("value", [None, (), {"loss": "low"}, float("nan"), [1]], ids=str)
def test_nonsense_is_no_trial(field: str, value: Any) -> None:
    """A child's word is checked before it is stored: every field of its type, every figure finite."""
    if (field, value) == ("params", {"loss": "low"}):
        value = "text"
    assert trial_of({**asdict(TRIAL), field: value}) is None
    assert trial_of({name: given for name, given in asdict(TRIAL).items() if name != field}) is None
    assert trial_of({**asdict(TRIAL), "metrics": {"loss": float("inf")}}) is None


@pytest.mark.parametrize(
    ("depth", "suited", "all_open", "may_leave"),
    [
        (0, 0, 0, True),
        (0, 1, 1, False),
        (1, 0, 0, False),
        (1, 0, 1, True),
        (2, 0, 1, False),
        (0, 0, 3, True),
        (1, 1, 2, False),
    ],
)
def test_who_may_leave(depth: int, suited: int, all_open: int, may_leave: bool) -> None:
    """Only without an open request that suits, and without a message beyond those that wait for other machines."""
    assert idle_for_good(depth, suited, all_open) is may_leave
