"""A trainer with nothing to do helps another's search, and how that ends; and how the leader's side of it is kept."""

from __future__ import annotations

from dataclasses import asdict, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import SystemClock
from trainyard.contracts.runs import Trial
from trainyard.contracts.searches import Invitation
from trainyard.contracts.studies import Planned, study_name
from trainyard.errors import TransientError
from trainyard.testing.processes import wait_until
from trainyard_trainer.asking import Asking
from trainyard_trainer.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conftest import World

    from trainyard.contracts.runs import Job, Lease
    from trainyard.contracts.studies import Study

    Said = Callable[[str], list[dict[str, Any]]]

PRIOR = Trial(1, "prior", {}, {"loss": 0.6, "log_loss": 0.6}, 0.01, chosen=False, worker="leader")


class Led:
    """A search that another worker leads: its prior is told, and it invites."""

    def __init__(self, world: World, **invitation: Any) -> None:
        self.world = world
        self.request_id = world.runs.add(upto_seq=400, settings={"kinds": ["linear"], "search_workers": 2})
        place = {"worker": "leader", "instance_id": "i-9", "instance_type": None}
        job = world.runs.claim(self.request_id, lease_seconds=3_600, **place).job  # type: ignore[arg-type]
        assert job is not None
        self.job: Job = job
        self.lease: Lease = job.lease
        release = _release()
        self.name = study_name(self.request_id, 0, release)
        self.study: Study = world.studies.join(self.name, seed=0, metric="auto", seated=self.seated)
        self.study.plan([Planned("prior", {}), Planned("linear", {"penalty": "l2", "strength": 0.1})], {})
        self.study.ask()
        self.study.tell(PRIOR)
        sha256 = world.snapshots.read(1, 400).sha256
        offered = Invitation(1, 60.0, release, sha256, {"left_out": []})
        world.searches.invite(self.lease, replace(offered, **invitation))

    def seated(self) -> Any:
        return self.world.searches.seated(self.lease)

    def told(self) -> list[Trial]:
        return [trial for trial in self.world.studies.finished(self.name) if trial.helped]


def _release() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    return version("trainyard")


def test_an_idle_worker_helps_until_nothing_is_left(world: World, said: Said) -> None:
    """It tries what is planned beside the leader, tells the study who it was, and does not come back to this run."""
    led = Led(world)
    assert world.trainer.step() is True
    assert [(trial.number, trial.kind, trial.worker) for trial in led.told()] == [(2, "linear", "host:1")]
    assert led.seated() == set()
    assert world.presence.said == [led.request_id, "idle"]
    assert [line["reason"] for line in said("seat.left")] == ["there is nothing left to try"]
    assert world.trainer.step() is False
    assert world.row(led.request_id).state == "running"
    assert list(world.work_dir.glob("*")) == []


def test_a_request_comes_before_a_search(world: World) -> None:
    """A worker with a message serves it, whoever invites."""
    led = Led(world)
    request_id = world.request()
    world.trainer.step()
    assert world.row(request_id).state == "done"
    assert led.told() == []


def test_other_rows_are_not_measured_on(world: World, said: Said) -> None:
    """Rows were erased since the leader read them: figures would not compare."""
    led = Led(world, snapshot="0" * 64)
    assert world.trainer.step() is True
    assert led.told() == []
    assert [line["reason"] for line in said("seat.left")] == ["its rows are others by now"]
    assert world.trainer.step() is False


def test_a_child_that_fails_is_not_sent_again(world: World, said: Said) -> None:
    """The leader tries what it was at, and this worker leaves the run alone."""
    led = Led(world)
    world.children.script = lambda _: 1
    world.trainer.step()
    assert [line["reason"] for line in said("seat.left")] == ["the training process ended with 1: Segmentation fault"]
    assert world.trainer.step() is False
    assert led.study.ask().number == 2


def test_a_fault_of_ours_costs_the_seat(world: World, said: Said) -> None:
    """The worker lives on, for requests and for other searches."""
    led = Led(world)

    def broken(_: Path) -> int:
        raise KeyError("nobody foresaw this")

    world.children.script = broken
    assert world.trainer.step() is True
    assert len(said("seat.crashed")) == 1
    assert led.seated() == set()
    assert world.trainer.step() is False


def test_an_outage_costs_the_seat_for_a_while(world: World) -> None:
    """What does not answer may do so again: then the worker comes back."""
    led = Led(world)

    def away(_: Path) -> int:
        raise TransientError("away")

    world.children.script = away
    with pytest.raises(TransientError):
        world.trainer.step()
    assert world.presence.said[-1] == "idle"
    world.children.script = None
    world.trainer.step()
    assert [trial.number for trial in led.told()] == [2]


@pytest.mark.parametrize("end", ["over", "cancelled", "taken over", "a request waits", "stopped"])
def test_a_helper_leaves_at_once(world: World, said: Said, end: str) -> None:
    """With the search, for a request, or because it has to stop: its child dies, and its trial is the leader's."""
    led = Led(world)
    real = SystemClock()
    world.settings = replace(world.settings, beat_seconds=0.01)
    world.trainer = type(world.trainer)(world.outside, world.settings, world.stop)
    looks: list[Path] = []

    def until_killed(directory: Path) -> None:
        looks.append(directory)
        if len(looks) == 1:
            child = world.children.made[-1]
            child.say({"plan": [], "space": {}})
            child.say({"ask": 1})
            assert '"number": 2' in child.answers.get(timeout=10)
            ends[end]()
        real.sleep(0.01)

    def wait_long() -> None:
        world.runs.requests[world.runs.add("other", upto_seq=1)].created -= 60

    ends: dict[str, Callable[[], Any]] = {
        "over": lambda: world.searches.over(led.lease),
        "cancelled": lambda: setattr(world.row(led.request_id), "cancel_requested", True),
        "taken over": lambda: setattr(world.row(led.request_id), "lease_until", -1.0),
        "a request waits": wait_long,
        "stopped": lambda: world.stop.request("spot notice"),
    }
    world.children.script = until_killed
    world.trainer.help()
    assert world.children.made[-1].killed
    (line,) = said("seat.left")
    words = {"stopped": "spot notice", "a request waits": "a request waits"}
    assert line["reason"] == words.get(end, "the search is over, or went on without us")
    assert led.seated() == set()
    assert led.study.ask().number == 2


def test_a_seat_that_cannot_be_kept_is_lost(world: World, said: Said) -> None:
    """Without the database for a whole lease the leader takes the trial for abandoned: so must we."""
    Led(world)

    def away(_: Path) -> None:
        world.runs.outage = TransientError("away")
        world.clock.advance(61)

    world.children.script = away
    world.trainer.help()
    assert [line["reason"] for line in said("seat.left")] == ["the seat could not be kept"]
    assert [line["reason"] for line in said("seat.not_left")] == ["away"]


# --- the leader ---


class Kept:
    """The keeper of the lease, as far as trials go."""

    def __init__(self) -> None:
        self.kept: list[Trial] = []

    def keep(self, trial: Trial) -> None:
        self.kept.append(trial)


def test_the_leader_invites_with_its_first_trial(world: World) -> None:
    """Not before: it must have the prior. It hears of others' trials once, keeps them, and sends all home."""
    request_id = world.runs.add(upto_seq=400)
    job = world.runs.claim(request_id, worker="w", instance_id=None, instance_type=None, lease_seconds=60).job
    assert job is not None
    keeper, answers = Kept(), SimpleQueue[Any]()
    invitation = Invitation(1, 60.0, "1", "ab", {})
    sharing = Sharing(world.searches, job.lease, keeper, earlier=(), invitation=lambda: invitation)  # type: ignore[arg-type]

    def join() -> Study:
        return world.studies.join("r/0", seed=0, metric="auto", seated=sharing.seated)

    def ask(**what: Any) -> Mapping[str, Any]:
        asking.hear(what, answers.put)
        return answers.get(timeout=10)

    asking = Asking(join, lambda: "", SystemClock(), worker="w", sharing=sharing)
    with asking:
        asking.hear({"plan": [{"kind": "prior", "params": {}}] * 4, "space": {}}, answers.put)
        assert ask(news=1) == {"trials": []}
        ask(ask=1)
        assert world.searches.invitations == {}
        asking.hear({"trial": asdict(PRIOR)}, answers.put)
        assert ask(ask=1)["number"] == 2
        assert world.searches.invitations[job.lease.run_id][0] == invitation
        helper = world.studies.help("r/0", seed=0, metric="auto", seat="seat")
        theirs = Trial(helper.ask().number, "prior", {}, {"loss": 0.5}, 1.0, chosen=False, worker="h", helped=True)
        helper.tell(theirs)
        assert [Trial(**trial) for trial in ask(news=1)["trials"]] == [theirs] == keeper.kept
        assert ask(news=1) == {"trials": []}
        asking.hear({"searched": 1}, answers.put)
        wait_until(lambda: not world.searches.invitations, "the search to be over")
    assert asking.failure is None


def test_the_version_has_everybodys_trials(world: World) -> None:
    """The leader chooses among all of them, fits theirs again, and says of each who made it."""
    request_id = world.request(settings={"search_workers": 2, "kinds": ["linear"]})
    better = {"loss": 0.01, "log_loss": 0.01}
    numbers: list[int] = []

    def shared(directory: Path) -> int:
        (name,) = world.studies.records or [study_name(request_id, 0, _release())]
        child = world.children.made[-1]
        said = child.say

        def say(what: dict[str, Any]) -> None:
            said(what)
            if isinstance(what.get("trial"), dict) and what["trial"]["number"] == 1:
                record = world.studies.records[name]
                wait_until(lambda: 1 in record.told, "the prior to be told")
                helper = world.studies.help(name, seed=0, metric="auto", seat="seat")
                proposal = helper.ask()
                numbers.append(proposal.number)
                params = {"penalty": "l2", "strength": 0.1, "scaling": "quantile"}
                trial = Trial(proposal.number, "linear", params, better, 0.5, chosen=False, worker="h", helped=True)
                helper.tell(trial)

        child.say = say  # type: ignore[method-assign]
        return child.learn(directory)

    world.children.script = shared
    world.trainer.step()
    assert world.row(request_id).state == "done"
    trials = world.row(request_id).runs[-1].trials
    assert {number: trial.worker for number, trial in trials.items()} == {
        number: "h" if number in numbers else "host:1" for number in trials
    }
    assert trials[numbers[0]].chosen
