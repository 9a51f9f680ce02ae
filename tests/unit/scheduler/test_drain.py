"""Draining tickets of requests that have ended, when there is no trainer to remove them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.contracts.queue import Outgoing, Received
from trainyard.errors import TransientError
from trainyard.messages import DataArrived, TrainingRequest
from trainyard.testing.fakes import MemoryQueue, MemoryStore
from trainyard_scheduler.use_cases import relay
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.drain import drain
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask, cancel

if TYPE_CHECKING:
    from collections.abc import Callable

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})
STRAY = [
    Outgoing("TrainingRequest", "not base64"),
    DataArrived("flights", "b", 1).outgoing(),
    TrainingRequest("not a uuid").outgoing(),
    TrainingRequest(str(uuid.uuid4())).outgoing(),
]


class Scene:
    """One model that is trained by hand, and a training queue with its dead letters."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", COLUMNS)
        self.dead = MemoryQueue(self.clock)
        self.queue = MemoryQueue(self.clock, dead_letters=self.dead)
        with self.store.begin() as records:
            put_model(records, "late", {"dataset": "flights", "label": "late", "policy": {"min_new_rows": None}}, BY)

    def ask(self) -> str:
        """Ask for a training of new rows, and send its ticket."""
        self.store.state.add_rows("flights", 1)
        with self.store.begin() as records:
            ident = ask(records, "late", {}, BY)[1].id
        relay.relay_all(self.store, {"training": self.queue})
        return ident

    def cancel(self, ident: str) -> None:
        """Cancel the request."""
        with self.store.begin() as records:
            cancel(records, ident, BY)


def test_tickets_of_ended_requests_go() -> None:
    """All of them, more than one batch, and those that were sent twice; then there is nothing left to do."""
    scene = Scene()
    for _ in range(13):
        ident = scene.ask()
        scene.cancel(ident)
        scene.queue.send([TrainingRequest(ident).outgoing()])
    assert drain(scene.store, scene.queue) == 26
    assert (scene.queue.depth().total, scene.dead.depth().total) == (0, 0)
    assert drain(scene.store, scene.queue) == 0


def test_what_draining_says(said: Callable[..., Any]) -> None:
    """How many tickets went, and which one names no request; nothing when there is nothing to do."""
    scene = Scene()
    assert drain(scene.store, scene.queue) == 0
    scene.cancel(scene.ask())
    scene.queue.send([STRAY[0]])
    assert drain(scene.store, scene.queue) == 1
    unknown = next(fields for _, action, fields in said() if action == "ticket.unknown")
    assert said()[1:] == [
        ("WARNING", "ticket.unknown", {"message_id": unknown["message_id"], "receives": 1}),
        ("INFO", "tickets.drained", {"tickets": 1}),
    ]
    scene.clock.advance(5)
    (stray,) = scene.queue.receive(limit=10, wait_seconds=0, visibility_seconds=1)
    assert stray.message_id == unknown["message_id"]


def test_one_step_is_bounded() -> None:
    """A thousand tickets in one step, the rest in the next."""
    scene = Scene()
    ident = scene.ask()
    scene.cancel(ident)
    scene.queue.send([TrainingRequest(ident).outgoing()] * 1_004)
    assert (drain(scene.store, scene.queue), drain(scene.store, scene.queue)) == (1_000, 5)


def test_nothing_is_touched_while_a_request_is_open() -> None:
    """Trainers read the queue then; the tickets of ended requests are theirs to remove as well."""
    scene = Scene()
    scene.cancel(scene.ask())
    scene.ask()
    scene.queue.outage = AssertionError("the queue was asked")
    assert drain(scene.store, scene.queue) == 0


def test_the_ticket_of_a_request_that_was_made_meanwhile_stays() -> None:
    """Made between the look and the receive: its ticket is given back at once, and the others go."""
    scene = Scene()
    scene.cancel(scene.ask())
    receive = scene.queue.receive
    made = []

    def late(**how: int) -> list[Received]:
        made.append(scene.ask())
        return receive(**how)

    scene.queue.receive = late  # type: ignore[method-assign, assignment]
    assert drain(scene.store, scene.queue) == 1
    (ticket,) = receive(limit=10, wait_seconds=0, visibility_seconds=1)
    assert ticket.body == TrainingRequest(made[0]).outgoing().body
    assert len(made) == 1


@pytest.mark.parametrize("message", STRAY)
def test_what_names_no_request_becomes_a_dead_letter(message: Outgoing) -> None:
    """It is never deleted: five seconds lie between its receives, and after five of them people find it."""
    scene = Scene()
    scene.queue.send([message])
    for _ in range(5):
        assert drain(scene.store, scene.queue) == 0
        assert scene.queue.depth().visible == 0
        scene.clock.advance(4.9)
        assert scene.queue.depth().visible == 0
        scene.clock.advance(0.2)
    drain(scene.store, scene.queue)
    assert (scene.queue.depth().total, scene.dead.depth().total) == (0, 1)


def test_an_outage_is_said() -> None:
    """The loop tries again later."""
    scene = Scene()
    scene.queue.outage = TransientError("SQS is away")
    with pytest.raises(TransientError):
        drain(scene.store, scene.queue)
