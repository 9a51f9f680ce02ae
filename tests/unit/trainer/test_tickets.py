"""A message is a ticket: which request it takes, and what becomes of it when it takes none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.contracts.runs import Claim
from trainyard.errors import TransientError
from trainyard.messages import TrainingRequest
from trainyard.testing.crashpoints import armed
from trainyard_trainer.domain import EXIT_DATA
from trainyard_trainer.use_cases import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World


def no_model(_: Path) -> int:
    """A child that ends at once."""
    return EXIT_DATA


def test_the_most_urgent_request_is_served_first(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """The first message serves the urgent request behind it, and the urgent one's message serves the first."""
    world.children.script = no_model
    first, urgent = world.request(upto_seq=100), world.request(upto_seq=200, priority=5)
    world.trainer.step()
    assert (world.row(first).state, world.row(urgent).state) == ("queued", "failed")
    world.trainer.step()
    assert world.row(first).state == "failed"
    assert world.queue.depth().total == 0
    assert [line["request_id"] for line in said("run.started")] == [urgent, first]
    assert world.presence.said == [urgent, "idle", first, "idle"]


def test_a_request_for_other_machines(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """Its message is replaced by a fresh one before it is deleted, so that no look uses up a receive."""
    request_id = world.request(instance_types=("g5.xlarge",))
    assert not world.trainer.step()
    assert (world.row(request_id).state, world.row(request_id).attempt) == ("queued", 0)
    assert world.runs.posted == [request_id]
    assert world.queue.depth().total == 0
    assert said("request.unsuited") == [{"request_id": request_id, "instance_type": "c7i.large"}]


def test_a_trainer_leaves_requests_for_other_machines_to_them(world: World) -> None:
    """With nothing but requests that it cannot serve, each with its message, a trainer goes; with more it stays."""
    world.request(instance_types=("g5.xlarge",))
    assert world.trainer.nothing_left()
    own = world.request(instance_types=("c7i.large", "g5.xlarge"))
    assert not world.trainer.nothing_left()
    world.row(own).state = "done"
    assert not world.trainer.nothing_left()  # its message is still there
    world.queue.purge()
    assert world.trainer.nothing_left()


def test_the_claim_says_who_and_where(world: World) -> None:
    """The run keeps worker, instance and type, and the lease has the length that was set."""
    world.children.script = no_model
    request_id = world.request()
    world.trainer.step()
    (run,) = world.row(request_id).runs
    assert (run.worker, run.instance_id, run.instance_type) == ("host:1", "i-1", "c7i.large")


def test_settled_held_and_unknown(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """Each leaves a line that says what was found, and concerns this worker."""
    settled = world.request()
    world.row(settled).state = "done"
    assert world.trainer.step()
    assert said("request.settled") == [{"request_id": settled, "state": "done"}]
    held = world.request()
    world.runs.claim(held, worker="x", instance_id=None, instance_type=None, lease_seconds=12.5)
    assert world.trainer.step()
    assert said("request.held") == [{"request_id": held, "seconds_left": 12.5}]
    world.clock.advance(13.9)
    assert world.queue.depth().visible == 0
    world.clock.advance(0.2)
    assert world.queue.depth().visible == 1
    world.queue.purge()
    stranger = "00000000-0000-4000-8000-000000000000"
    world.queue.send([TrainingRequest(stranger).outgoing()])
    assert world.trainer.step()
    assert said("request.unknown") == [{"request_id": stranger}]
    assert world.queue.depth().in_flight == 1


def test_looking_at_a_held_request_makes_no_dead_letter(world: World) -> None:
    """A second message of a request that is at work for long is dropped before its fifth receive would kill it."""
    held = world.request()
    world.runs.claim(held, worker="x", instance_id=None, instance_type=None, lease_seconds=3600)
    for look in range(4):
        assert world.queue.depth().total == 1, look
        assert world.trainer.step()
        world.clock.advance(3602)
        world.row(held).lease_until = world.clock.monotonic() + 3600
    assert world.queue.depth().total == 0


def test_unreadable(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """The line names the message, so that somebody can look for it among the dead letters."""
    world.queue.send([replace(TrainingRequest("x").outgoing(), type="Nonsense")])
    assert world.trainer.step()
    (line,) = said("message.unreadable")
    assert line["message_id"]
    assert "Nonsense" in line["reason"]
    assert world.queue.depth().in_flight == 1


def test_an_unreadable_message_is_a_dead_letter_soon(world: World) -> None:
    """It comes back every 5 s instead of once a lease: five receives, and 25 s after the first it is dead."""
    world.queue.send([replace(TrainingRequest("x").outgoing(), type="Nonsense")])
    for _ in range(5):
        world.trainer.step()
        world.clock.advance(4.9)
        assert world.queue.depth().visible == 0
        world.clock.advance(0.1)
        assert world.queue.depth().visible == 1
    assert world.clock.monotonic() == pytest.approx(25)
    assert not world.trainer.step()
    assert (world.queue.depth().total, world.dead_letters.depth().total) == (0, 1)


def test_a_ticket_of_another_machine_takes_what_suits(world: World) -> None:
    """The named request keeps a ticket: a fresh one is posted, and the old one is used up by what was taken."""
    world.children.script = no_model
    named = world.request(instance_types=("g5.xlarge",))
    taken = world.runs.add(upto_seq=7)
    assert world.trainer.step()
    assert (world.row(named).state, world.row(taken).state) == ("queued", "failed")
    assert world.runs.posted == [named]
    assert world.queue.depth().total == 0


def test_a_message_of_another_kind_is_not_read_as_a_request(
    world: World, said: Callable[[str], list[dict[str, Any]]]
) -> None:
    """A well-formed message that belongs into another queue says so."""
    from trainyard.messages import DataArrived  # noqa: PLC0415

    world.queue.send([DataArrived("d", "b", 1).outgoing()])
    world.trainer.step()
    assert [line["reason"] for line in said("message.unreadable")] == [
        "a message of type DataArrived is not for a trainer"
    ]


def test_nothing_came(world: World) -> None:
    """An empty queue is waited for as long as set, and no longer."""
    assert not world.trainer.step()
    assert world.clock.monotonic() == pytest.approx(world.settings.wait_seconds, abs=0.2)


def test_a_message_is_hidden_for_one_lease(world: World) -> None:
    """What a dying worker had received comes back after the lease, not later."""
    request_id = world.request()
    world.runs.outage = TransientError("away")
    with pytest.raises(TransientError):
        world.trainer.step()
    world.clock.advance(world.lease_seconds - 0.5)
    assert world.queue.depth().visible == 0
    world.clock.advance(1)
    assert world.queue.depth().visible == 1
    assert world.row(request_id).attempt == 0


def test_a_delete_that_is_lost_costs_one_look(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """K29: the message of a settled request comes again, is recognised, and goes; nothing is trained twice."""
    world.children.script = no_model
    request_id = world.request()
    with armed("K29"):
        world.trainer.step()
    assert said("message.not_deleted") == [
        {
            "request_id": request_id,
            "run_id": world.row(request_id).runs[0].id,
            "model": "flights",
            "trace": None,
            "reason": "crash point K29",
        }
    ]
    assert world.queue.depth().in_flight == 1
    world.clock.advance(world.lease_seconds + 1)
    world.trainer.step()
    assert world.queue.depth().total == 0
    assert len(world.children.made) == 1


@pytest.mark.parametrize("point", ["K17", "K18", "K19", "K20", "K21", "K22", "K23", "K24", "K25", "K30"])
def test_a_failure_at_any_step_is_survived(world: World, point: str) -> None:
    """Whatever does not answer once, the request is served in the end, by one version."""
    request_id = world.request()
    with armed(point):
        while world.row(request_id).state not in ("done", "failed"):
            try:
                world.trainer.step() if point != "K30" else world.trainer.run()
            except TransientError:
                world.clock.advance(world.lease_seconds + 1)
            for posted in world.runs.posted:
                world.queue.send([TrainingRequest(posted).outgoing()])
            world.runs.posted.clear()
    assert world.row(request_id).state == "done"
    assert len(world.runs.models["flights"].versions) == 1
    assert len(list(world.blobs.list("models/"))) == 1


def test_the_reply_to_a_claim_is_lost(world: World) -> None:
    """K19: nobody knows that the request is ours; when the lease has run out it is taken again."""
    request_id = world.request()
    with armed("K19", "lost"), pytest.raises(TransientError):
        world.trainer.step()
    assert world.row(request_id).state == "running"
    world.clock.advance(world.lease_seconds + 1)
    world.trainer.step()
    assert [run.state for run in world.row(request_id).runs] == ["lost", "done"]


def test_two_workers_serve_every_request_once(world: World, new_world: Callable[[str], World]) -> None:
    """Two trainers on one queue and one database: every request one run, every message used."""
    world.children.script = no_model
    second = new_world("second")
    other = Trainer(replace(world.outside, children=second.children), second.settings, second.stop)
    second.children.script = no_model
    ids = [world.request(upto_seq=n, priority=n % 2) for n in range(1, 7)]
    for worker in (world.trainer, other) * 3:
        assert worker.step()
    assert [[run.state for run in world.row(ident).runs] for ident in ids] == [["failed"]] * 6
    assert world.queue.depth().total == 0
    assert (len(world.children.made), len(second.children.made)) == (3, 3)


def test_an_answer_that_nobody_knows_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is deleted only for an outcome that says so."""
    world.request()
    monkeypatch.setattr(world.runs, "claim", lambda *_, **__: Claim("unknown"))
    world.trainer.step()
    assert world.queue.depth().total == 1
