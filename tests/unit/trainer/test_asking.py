"""The thread that answers what the training process asks of its study."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import SystemClock
from trainyard.contracts.runs import Trial
from trainyard.contracts.studies import Method, Planned, Range, space_as_json
from trainyard.errors import TransientError
from trainyard.testing.fakes import MemoryStudies
from trainyard.testing.processes import wait_until
from trainyard_trainer.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import World

NAME = "request/0"
SPACE = {"linear": Method("linear", {"strength": Range(0.1, 10.0)})}
PLAN = {"plan": [asdict(Planned("prior", {}))], "space": space_as_json(SPACE)}
TRIAL = Trial(1, "prior", {}, {"loss": 1.0}, 0.5, chosen=False, worker="w:1")


class Process:
    """The process's side."""

    def __init__(self, studies: MemoryStudies) -> None:
        self.studies = studies
        self.lost = ""
        join = partial(studies.join, NAME, seed=0, metric="auto")
        self.asking = Asking(join, lambda: self.lost, SystemClock(), worker="w:1")
        self.answers: SimpleQueue[Mapping[str, Any]] = SimpleQueue()

    def say(self, **what: Any) -> None:
        self.asking.hear(what, self.answers.put)

    def ask(self) -> Mapping[str, Any]:
        self.say(ask=1)
        return self.answers.get(timeout=10)


@pytest.fixture
def process() -> Process:
    """Nothing said yet."""
    return Process(MemoryStudies())


def test_what_is_asked_is_answered_in_order(process: Process) -> None:
    """Plan, ask, tell, skip: each is done before the next one is answered."""
    with process.asking:
        process.say(**PLAN)
        assert process.ask() == {"number": 1, "kind": "prior", "params": {}}
        process.say(trial=asdict(TRIAL))
        second = process.ask()
        assert (second["number"], second["kind"]) == (2, "linear")
        process.say(skip=2)
        assert process.ask()["number"] == 3
    assert process.studies.finished(NAME) == [TRIAL]
    assert process.studies.records[NAME].told == {1: TRIAL, 2: None}


def test_what_is_said_last_is_recorded(process: Process) -> None:
    """A run that ends loses no finished trial, and is given nothing more to try."""
    with process.asking:
        process.say(**PLAN)
        process.ask()
        process.say(trial=asdict(TRIAL))
    assert process.studies.finished(NAME) == [TRIAL]


def test_an_outage_is_waited_out(process: Process, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """The process waits for its answer, and gets it when the database is back."""
    with process.asking:
        process.studies.outage = TransientError("away")
        process.say(**PLAN)
        process.say(ask=1)
        wait_until(lambda: said("study.outage") != [], "an outage to be told")
        assert process.answers.empty()
        process.studies.outage = None
        assert process.answers.get(timeout=10)["number"] == 1


def test_an_outage_does_not_hold_up_the_end(process: Process) -> None:
    """What cannot be recorded by then is left: the next run tries it again."""
    process.studies.outage = TransientError("away")
    with process.asking:
        process.say(**PLAN)
        process.say(ask=1)
    assert process.answers.empty()
    assert process.studies.records == {}


def test_the_study_of_a_lost_lease_is_left_alone(process: Process) -> None:
    """It is another holder's: nothing is recorded in it, nor asked of it."""
    with process.asking:
        process.say(**PLAN)
        process.ask()
        process.lost = "zombie"
        process.say(trial=asdict(TRIAL))
        process.say(ask=1)
    assert process.studies.finished(NAME) == []
    assert process.answers.empty()


def test_a_trial_that_nobody_has_asked_for(process: Process) -> None:
    """It is no trial of the study; a process that asks for nothing has no study at all."""
    with process.asking:
        process.say(trial=asdict(TRIAL))
        process.say(trial={"number": "one"})
    assert process.studies.records == {}


def test_a_study_that_is_gone_ends_the_answers(process: Process, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """The request has ended elsewhere, which the lease will tell: it is no failure."""
    with process.asking:
        process.say(**PLAN)
        process.ask()
        process.studies.end("request")
        process.say(ask=1)
        wait_until(lambda: said("study.gone") != [], "the end of the study to be told")
    assert process.asking.failure is None
    assert process.answers.empty()


def test_a_study_that_fails_fails_the_run(world: World) -> None:
    """Nobody waits for an answer that will not come."""
    world.studies.outage = None

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("no such column")

    world.studies.join = broken  # type: ignore[method-assign]
    clock = SystemClock()

    def asks(_: object) -> None:
        child = world.children.made[-1]
        child.say({"ask": 1})
        clock.sleep(0.02)

    world.children.script = asks
    request_id = world.request()
    world.trainer.step()
    row = world.row(request_id)
    assert (row.error_class, row.error) == ("crash", "its study failed: no such column")
