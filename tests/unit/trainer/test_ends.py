"""How a run and a trainer end: cancelled, stopped, lost, unrecorded, and the instance given back."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainyard.clock import ManualClock, SystemClock
from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.runs import MAX_ATTEMPTS
from trainyard.errors import TransientError
from trainyard.messages import TrainingRequest
from trainyard.testing.crashpoints import armed
from trainyard_trainer.domain import MOST_RUN_SECONDS
from trainyard_trainer.use_cases import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from conftest import World


def test_cancel_takes_effect_with_the_next_beat(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """With a beat of 1 s the child is dead and the request cancelled little more than a second after the wish."""
    clock = SystemClock()
    settings = replace(world.settings, beat_seconds=1.0)
    trainer = Trainer(replace(world.outside, clock=clock), settings, world.stop)
    request_id = world.request()
    began = threading.Event()

    def endless(_: Path) -> None:
        began.set()
        clock.sleep(0.05)

    world.children.script = endless
    worker = threading.Thread(target=trainer.step)
    worker.start()
    assert began.wait(20)
    world.row(request_id).cancel_requested = True
    worker.join(20)
    assert not worker.is_alive()
    assert world.row(request_id).state == "cancelled"
    assert world.children.made[0].killed
    assert world.queue.depth().total == 0
    assert len(said("run.cancelled")) == 1


def test_no_beat_for_two_beats_kills_the_child(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """A run that cannot renew its lease stops before anybody else can have the request, and leaves the message."""
    request_id = world.request()

    def frozen(_: Path) -> None:
        world.clock.advance(41)

    world.children.script = frozen
    world.trainer.step()
    assert world.children.made[0].killed
    assert world.row(request_id).state == "running"
    assert [line["code"] for line in said("run.abandoned")] == ["lease_lost"]
    assert world.queue.depth().total == 1
    assert world.presence.said == [request_id, "idle"]


def test_a_zombie_is_named(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """When the database refuses the fence the line says so: somebody else has the request."""
    request_id = world.request()
    world.children.clock = ManualClock()  # the lease gets no older while its thread stores the trial
    real = SystemClock()
    deadline = real.monotonic() + 20

    def taken(_: Path) -> int | None:
        world.row(request_id).fence += 1
        world.children.made[0].said.append(
            {"number": 1, "kind": "prior", "params": {}, "metrics": {"loss": 1.0}, "seconds": 1.0}
        )
        real.sleep(0.005)
        return None if real.monotonic() < deadline else 0

    world.children.script = taken
    world.trainer.step()
    assert [line["code"] for line in said("run.abandoned")] == ["zombie"]
    assert world.runs.models["flights"].versions == {}


def test_an_end_that_cannot_be_recorded(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """The database is away when the run has failed: the message stays, the lease runs out, the next one takes over."""
    world.lease_for_hours()
    request_id = world.request()

    def failing(_: Path) -> int:
        world.runs.outage = TransientError("away")
        return 1

    world.children.script = failing
    world.trainer.step()
    assert [line["code"] for line in said("run.abandoned")] == ["not_recorded"]
    world.runs.outage = None
    assert world.row(request_id).state == "running"
    assert world.queue.depth().total == 1


def test_the_lease_runs_out_before_the_end_is_recorded(
    world: World, said: Callable[[str], list[dict[str, Any]]]
) -> None:
    """For the rest of the lease the trainer insists, and no longer."""
    request_id = world.request()

    def failing(_: Path) -> int:
        world.runs.outage = TransientError("away")
        return 1

    world.children.script = failing
    world.trainer.step()
    assert [line["code"] for line in said("run.abandoned")] == ["lease_lost"]
    assert world.lease_seconds < world.clock.monotonic() < world.lease_seconds + 5
    world.runs.outage = None
    world.clock.advance(world.lease_seconds)
    world.children.script = lambda _: 65
    world.trainer.step()
    assert [run.state for run in world.row(request_id).runs] == ["lost", "failed"]


def test_a_lease_that_runs_out_in_a_pause(
    world: World, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], list[dict[str, Any]]]
) -> None:
    """When the database is back after the lease has run out, the run is given up and nothing is recorded."""
    request_id = world.request()

    def failing(_: Path) -> int:
        world.runs.outage = TransientError("away")
        return 65

    def pause(clock: ManualClock) -> None:
        clock.advance(world.lease_seconds + 1)
        world.runs.outage = None

    monkeypatch.setattr("trainyard_trainer.guard.pause", pause)
    world.children.script = failing
    world.trainer.step()
    assert [line["code"] for line in said("run.abandoned")] == ["lease_lost"]
    assert [run.state for run in world.row(request_id).runs] == ["running"]


def test_a_fault_of_ours_is_a_crash(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """An exception that nobody foresaw fails the run with its name, and the loop goes on."""

    def broken(_: Path) -> int:
        raise KeyError("nobody foresaw this")

    world.children.script = broken
    request_id = world.request()
    assert world.trainer.step()
    row = world.row(request_id)
    assert (row.state, row.error_class, row.error) == ("queued", "crash", "KeyError: 'nobody foresaw this'")
    (line,) = said("run.failed")
    assert (line["error_class"], line["again"]) == ("crash", True)
    assert len(said("run.crashed")) == 1


def test_what_does_not_answer_is_transient(world: World) -> None:
    """An outage that nothing waited for costs an attempt, with the reason."""

    def away(_: Path) -> int:
        raise TransientError("S3 said 503")

    world.children.script = away
    request_id = world.request()
    world.trainer.step()
    row = world.row(request_id)
    assert (row.state, row.error_class, row.error) == ("queued", "transient", "S3 said 503")


def test_the_reasons_of_all_attempts_are_kept(world: World) -> None:
    """After the third attempt the request has failed, and every run says why it did."""
    codes = iter([-9, -11, 67])
    world.children.script = lambda _: next(codes)
    request_id = world.request()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        world.trainer.step()
        assert world.queue.depth().total == 0
        if attempt < MAX_ATTEMPTS:
            world.queue.send([TrainingRequest(request_id).outgoing()])
    row = world.row(request_id)
    assert (row.state, row.error_class) == ("failed", "oom")
    assert [run.error_class for run in row.runs] == ["oom", "crash", "oom"]
    assert all(str(run.error).startswith("the training process ") for run in row.runs)


def test_poison_fails_at_once_and_the_next_is_served(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """A request with settings that nobody can read is over with its first look, and holds nobody up."""
    poison = world.runs.add(upto_seq=10, settings={"kinds": ["oracle"]}, priority=9)
    world.queue.send([TrainingRequest(poison).outgoing()])
    world.runs.requests[poison].settings = []
    healthy = world.request()
    world.trainer.step()
    row = world.row(poison)
    assert (row.state, row.attempt, row.error_class) == ("failed", 1, "poison")
    assert "cannot be served" in row.error
    (line,) = said("run.failed")
    assert line["again"] is False
    world.trainer.step()
    assert world.row(healthy).state == "done"
    assert world.queue.depth().total == 0


def test_no_run_takes_longer_than_the_cap(world: World) -> None:
    """Whatever the budget says, a run ends before SQS would show its message to somebody else."""
    world.lease_for_hours()
    request_id = world.request()

    def slow(_: Path) -> None:
        world.clock.advance(MOST_RUN_SECONDS + 1)

    world.children.script = slow
    world.trainer.step()
    row = world.row(request_id)
    assert (row.error_class, row.error) == ("timeout", "no run may take more than 11 hours")


def test_stop_ends_the_loop_and_says_why(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """The first reason is the one that is told."""
    world.stop.request("spot notice")
    world.stop.request("SIGTERM")
    world.trainer.run()
    assert said("trainer.stopped") == [{"reason": "spot notice"}]
    assert world.children.closed


def test_released_says_why(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """A run that was handed back tells the reason; what its child had finished by then is kept for the next one."""
    finished = {"number": 1, "kind": "prior", "params": {}, "metrics": {"loss": 1.0}, "seconds": 0.5}

    def noticed(_: Path) -> None:
        world.stop.request("spot notice")
        world.children.made[0].said.append(finished)

    world.children.script = noticed
    request_id = world.request()
    world.trainer.run()
    assert [line["reason"] for line in said("run.released")] == ["spot notice"]
    assert list(world.row(request_id).runs[0].trials) == [1]


# --- giving the instance back ---


def launched(world: World) -> Trainer:
    """Return a trainer on an instance of the fleet."""
    instance = world.fleet.launch("l", LaunchSpec(("c7i.large",), spot=True))
    settings = replace(world.settings, instance_id=instance.instance_id)
    return Trainer(world.outside, settings, world.stop)


def test_an_idle_trainer_terminates_its_instance(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """After ``idle_seconds`` without work, and none anywhere, the machine is given back."""
    trainer = launched(world)
    trainer.run()
    (instance,) = world.fleet.instances()
    assert not instance.alive
    assert said("trainer.idle") == [{"instance_id": instance.instance_id}]
    assert world.settings.idle_seconds <= world.clock.monotonic() < world.settings.idle_seconds + 5
    assert world.children.closed


def test_work_starts_the_wait_anew(world: World) -> None:
    """A trainer that had something to do waits the whole time again; a message for others is nothing to do."""
    world.children.script = lambda _: 65
    trainer = launched(world)
    real = world.clock.sleep
    asked: list[str] = []

    def sleep(seconds: float) -> None:
        real(seconds)
        if world.clock.monotonic() > 20 and not asked:
            asked.append(world.request())

    world.clock.sleep = sleep  # type: ignore[method-assign]
    trainer.run()
    assert world.row(asked[0]).state == "failed"
    assert 50 <= world.clock.monotonic() < 60


def test_an_instance_that_cannot_be_ended_is_tried_three_times(
    world: World, said: Callable[[str], list[dict[str, Any]]]
) -> None:
    """The process ends in any case: the scheduler's reaper finds the instance."""
    trainer = launched(world)
    world.fleet.outage = TransientError("EC2 is away")
    trainer.run()
    assert [line["reason"] for line in said("instance.not_ended")] == ["EC2 is away"] * 3


def test_the_end_works_at_the_second_try(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """K31: a reply that is lost is asked for again, and once it came nothing more is done."""
    trainer = launched(world)
    with armed("K31"):
        trainer.run()
    assert len(said("instance.not_ended")) == 1
    assert [instance.alive for instance in world.fleet.instances()] == [False]


def test_a_trainer_without_an_instance_just_ends(
    world: World, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], list[dict[str, Any]]]
) -> None:
    """On a laptop there is nothing to give back."""
    ended: list[object] = []
    monkeypatch.setattr(world.fleet, "terminate", ended.append)
    Trainer(world.outside, replace(world.settings, instance_id=None), world.stop).run()
    assert ended == []
    assert said("trainer.idle") == [{"instance_id": None}]


def test_a_request_that_comes_while_the_last_worker_leaves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """K31: after the last look nothing is taken any more; the row stays queued, which keeps the fleet at one."""
    trainer = launched(world)
    late: list[str] = []
    terminate = world.fleet.terminate

    def request_and_terminate(instance_ids: Any) -> None:
        late.append(world.request())
        terminate(instance_ids)

    monkeypatch.setattr(world.fleet, "terminate", request_and_terminate)
    trainer.run()
    assert world.row(late[0]).state == "queued"
    assert world.runs.open_requests() == 1
    assert world.queue.depth().visible == 1
    Trainer(world.outside, world.settings, world.stop).step()
    assert world.row(late[0]).state == "done"


def test_outages_of_the_loop_are_told(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """A queue that does not answer costs a pause, not the trainer."""
    world.queue.outage = TransientError("SQS is away")
    real = world.clock.sleep

    def sleep(seconds: float) -> None:
        real(seconds)
        world.queue.outage = None

    world.clock.sleep = sleep  # type: ignore[method-assign]
    world.trainer.run()
    assert [line["reason"] for line in said("trainer.outage")] == ["SQS is away"]
