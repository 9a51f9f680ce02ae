"""The worker's loop and log: what it tells operators, when it leaves, and where it can be interrupted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock, SystemClock
from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.runs import Trial
from trainyard.contracts.studies import Planned
from trainyard.errors import TransientError
from trainyard.messages import TrainingRequest
from trainyard.schema import Column, Schema
from trainyard.testing.crashpoints import armed
from trainyard_trainer.child import PipedStudy
from trainyard_trainer.domain import EXIT_DATA
from trainyard_trainer.use_cases import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World

    Said = Callable[[str], list[dict[str, Any]]]

TRIAL = {"number": 1, "kind": "prior", "params": {}, "metrics": {"loss": 1.0}, "seconds": 1.0, "chosen": False}


def no_model(_: Path) -> int:
    """A child that ends at once."""
    return EXIT_DATA


def whose(world: World, request_id: str) -> dict[str, Any]:
    """Return what every line about the request's newest run carries."""
    return {"request_id": request_id, "run_id": world.row(request_id).runs[-1].id, "model": "flights", "trace": None}


# --- what operators read ---


def test_a_run_that_publishes_is_told(world: World, said: Said) -> None:
    """Its start says how much there is to do, its end what came of it and why."""
    request_id = world.request()
    world.trainer.step()
    assert said("run.started") == [{**whose(world, request_id), "attempt": 1, "upto_seq": 400}]
    published = world.row(request_id).published
    why = {"version": 1, "promoted": True, "why": published.words}
    assert said("version.published") == [{**whose(world, request_id), **why}]
    assert published.words.startswith("promoted: ")


def test_the_start_of_a_later_attempt_is_told(world: World, said: Said) -> None:
    """It says which attempt it is, and how many trials its study has already."""
    request_id = world.request()

    def dies(_: Path) -> int:
        study = PipedStudy(world.children.made[0].say, world.children.made[0].answers.get)
        study.plan([Planned("prior", {})], {})
        study.ask()
        study.tell(Trial(**TRIAL))
        return 1

    world.children.script = dies
    world.trainer.step()
    world.children.script = no_model
    world.queue.send([TrainingRequest(request_id).outgoing()])
    world.trainer.step()
    assert [line["attempt"] for line in said("run.started")] == [1, 2]
    assert [line["trials"] for line in said("study.joined")] == [1]


def test_a_failure_is_told(world: World, said: Said) -> None:
    """Class, words, and whether there will be another attempt."""
    world.children.script = lambda _: 1
    request_id = world.request()
    world.trainer.step()
    (line,) = said("run.failed")
    reason = "the training process ended with 1: Segmentation fault"
    assert line == {**whose(world, request_id), "error_class": "crash", "reason": reason, "again": True}


def test_a_blocked_run_is_told(world: World, said: Said) -> None:
    """The line says what the data lack."""
    schema = Schema([*world.schema.columns, Column("at", "timestamp", role="event_time")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    world.snapshots._datasets.clear()
    world.snapshots.store(1, schema, [{**row, "at": start + timedelta(hours=row["id"])} for row in world.rows()])
    request_id = world.request()
    model = world.runs.models["flights"]
    model.known_seq, model.known_version = 400, 1
    world.trainer.step()
    assert said("run.blocked") == [{**whose(world, request_id), "reason": "no new rows since version 1 to test on"}]
    assert world.row(request_id).state == "blocked_by_data"


def test_a_fault_of_ours_is_told_with_the_exception(world: World, caplog: pytest.LogCaptureFixture, said: Said) -> None:
    """Whoever mends it needs the exception and where it was raised."""

    def broken(_: Path) -> int:
        raise KeyError("nobody foresaw this")

    world.children.script = broken
    world.request()
    world.trainer.step()
    assert len(said("run.crashed")) == 1
    (record,) = [record for record in caplog.records if record.getMessage() == "run.crashed"]
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


def test_a_run_that_is_given_up_is_told(world: World, said: Said) -> None:
    """Whether the lease was lost or the record refused, the reason is in the line."""
    request_id = world.request()

    def frozen(_: Path) -> None:
        world.clock.advance(41)

    world.children.script = frozen
    world.trainer.step()
    reason = "the lease is somebody else's or could not be renewed"
    assert said("run.abandoned") == [{**whose(world, request_id), "code": "lease_lost", "reason": reason}]


def test_an_end_that_was_not_recorded_is_told(world: World, said: Said) -> None:
    """The line says what did not answer."""
    world.lease_for_hours()
    request_id = world.request()

    def failing(_: Path) -> int:
        world.runs.outage = TransientError("the database is away")
        return 1

    world.children.script = failing
    world.trainer.step()
    reason = "transient: the database is away"
    assert said("run.abandoned") == [{**whose(world, request_id), "code": "not_recorded", "reason": reason}]


def test_an_instance_that_cannot_be_ended_is_told(world: World, said: Said) -> None:
    """Each try names the instance, so that somebody can end it by hand."""
    instance = world.fleet.launch("l", LaunchSpec(("c7i.large",), spot=True)).instance_id
    world.fleet.outage = TransientError("EC2 is away")
    Trainer(world.outside, replace(world.settings, instance_id=instance), world.stop).run()
    assert said("instance.not_ended") == [{"instance_id": instance, "reason": "EC2 is away"}] * 3


# --- when it leaves ---


def test_it_leaves_at_the_second_that_was_set(world: World) -> None:
    """Two waits of 2 s are the 4 s that were set: there is no third."""
    Trainer(world.outside, replace(world.settings, idle_seconds=4.0), world.stop).run()
    assert world.clock.monotonic() == 4.0


# --- the message of a run ---


def test_a_beat_hides_the_message_of_its_own_run(world: World) -> None:
    """After a beat in the middle of a run its message is hidden for a whole lease again."""
    request_id = world.request()
    world.children.clock = ManualClock()
    real = SystemClock()
    deadline = real.monotonic() + 20

    def until_hidden(_: Path) -> int | None:
        if world.clock.monotonic() == 0:
            world.clock.advance(25)
            world.children.made[0].said.append(TRIAL)  # to store it wakes the thread, which finds a beat due
            return None
        (message,) = world.queue._stored
        hidden = message.visible_at == 25 + world.lease_seconds
        real.sleep(0.005)
        return EXIT_DATA if hidden or real.monotonic() > deadline else None

    world.children.script = until_hidden
    world.trainer.step()
    assert real.monotonic() < deadline
    assert world.row(request_id).state == "failed"


# --- crash points ---


@pytest.mark.parametrize("point", ["K17", "K18"])
def test_points_of_a_step(world: World, point: str) -> None:
    """A chaos run can interrupt the worker when it has a message, and when it has read it; nothing is claimed yet."""
    request_id = world.request()
    with armed(point), pytest.raises(TransientError, match=f"crash point {point}"):
        world.trainer.step()
    assert world.row(request_id).attempt == 0
    assert world.queue.depth().in_flight == 1


def test_the_point_between_two_requests(world: World, said: Said) -> None:
    """K30: an interruption there costs a pause."""
    with armed("K30"):
        world.trainer.run()
    assert said("trainer.outage") == [{"reason": "crash point K30"}]
