"""Sending the messages of requests and of arrivals, and sending them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.scheduler.request_scene import NOWHERE, Scene

from trainyard.contracts.queue import Outgoing
from trainyard.errors import TransientError
from trainyard.messages import DataArrived, TrainingRequest
from trainyard.testing.crashpoints import armed
from trainyard.testing.fakes import MemoryQueue
from trainyard.testing.fakes.scheduling import MemoryOutbox
from trainyard.testing.fakes.scheduling_rows import Message
from trainyard_scheduler.use_cases import figures, relay
from trainyard_scheduler.use_cases.resend import Reconciler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


# --- the relay ---


def test_nothing_to_send(scene: Scene) -> None:
    """An empty outbox costs one look."""
    assert scene.relay() == 0
    assert ("trainyard_outbox_oldest_seconds", {}, 0) in figures.of_records(scene.store)


def test_no_transaction_is_open_while_a_queue_is_called(scene: Scene) -> None:
    """A slow queue holds no lock: another transaction goes through in the middle of a send."""
    _, request = scene.ask()
    seen = []

    class Slow(MemoryQueue):
        def send(self, messages: Sequence[Outgoing]) -> list[int]:
            with scene.store.begin() as records:  # the fake lets one transaction in at a time
                seen.append(records.outbox.take(9, hold_seconds=1))
            return super().send(messages)

    scene.queues["training"] = Slow(scene.clock)
    assert scene.relay() == 1
    assert seen == [[]]
    assert scene.store.state.requests[request.id].send_count == 1


def test_what_a_dead_relay_took_is_sent_by_the_next(scene: Scene) -> None:
    """After a crash between take and send nobody sends for some seconds, then somebody does."""
    scene.ask()
    with armed("K13"), pytest.raises(TransientError, match="K13"):
        scene.relay()
    assert scene.relay() == 0
    scene.clock.advance(relay.HOLD_SECONDS + 0.1)
    assert scene.relay() == 1
    assert (scene.waiting, scene.queues["training"].depth().visible) == (0, 1)


@pytest.mark.parametrize(
    ("point", "action", "in_queue"), [("K14", "error", 0), ("K14", "lost", 1), ("K15", "error", 1), ("K15", "lost", 1)]
)
def test_an_error_at_each_step_of_a_send(scene: Scene, point: str, action: str, in_queue: int) -> None:
    """The message is there at least once, and marked in the end."""
    scene.ask()
    with armed(point, action), pytest.raises(TransientError, match=point):
        scene.relay()
    assert scene.queues["training"].depth().visible == in_queue
    scene.clock.advance(relay.HOLD_SECONDS + 0.1)
    scene.relay()
    assert scene.waiting == 0
    assert scene.queues["training"].depth().visible >= 1


def test_entries_are_refused_one_by_one(scene: Scene) -> None:
    """What one queue refused is sent again at once, what it took is not; other queues are not kept waiting."""

    class Picky(MemoryQueue):
        refusing = True

        def send(self, messages: Sequence[Outgoing]) -> list[int]:
            if not self.refusing:
                return super().send(messages)
            super().send(messages[1:])
            return [0]

    scene.queues["training"] = queue = Picky(scene.clock)
    with scene.store.begin() as records:
        for ident in "abc":
            records.outbox.post("training", TrainingRequest(ident))
        records.outbox.post("arrived", DataArrived("flights", "b", 3))
    with pytest.raises(TransientError, match="queue training refused 1 of 3 messages"):
        scene.relay()
    assert (queue.depth().visible, scene.queues["arrived"].depth().visible, scene.waiting) == (2, 1, 1)
    queue.refusing = False
    assert scene.relay() == 1
    assert queue.depth().visible == 3


def test_all_queues_away(scene: Scene) -> None:
    """Nothing is marked, everything is given back, and the error names both."""
    scene.ask()
    with scene.store.begin() as records:
        records.outbox.post("arrived", DataArrived("flights", "b", 3))
    for name in ("training", "arrived"):
        scene.queues[name].outage = TransientError(f"{name} is away")
    with pytest.raises(TransientError, match="training is away; arrived is away"):
        scene.relay()
    assert scene.waiting == 2
    for name in ("training", "arrived"):
        scene.queues[name].outage = None
    assert scene.relay() == 2


def test_a_delay_goes_with_the_message(scene: Scene) -> None:
    """A message that suits nobody just now is hidden by the queue for a while."""
    with scene.store.begin() as records:
        records.outbox.post("training", TrainingRequest(NOWHERE), delay_seconds=30)
    scene.relay()
    depth = scene.queues["training"].depth()
    assert (depth.visible, depth.delayed) == (0, 1)


def test_an_old_outbox_is_told(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Two minutes in the outbox are worth a warning, and the metric shows them."""
    scene.ask()
    scene.clock.advance(120)
    scene.queues["training"].outage = TransientError("away")
    with pytest.raises(TransientError):
        scene.relay()
    assert "relay.outbox_old" not in caplog.messages
    scene.clock.advance(1)
    assert ("trainyard_outbox_oldest_seconds", {}, 121) in figures.of_records(scene.store)
    with pytest.raises(TransientError):
        scene.relay()
    assert "relay.outbox_old" in caplog.messages


def test_relay_all_sends_more_than_a_batch(scene: Scene) -> None:
    """It goes on, batch by batch, until the outbox is empty; a request with two messages is counted once."""
    with scene.store.begin() as records:
        for number in range(2 * relay.BATCH + 1):
            records.outbox.post("training", TrainingRequest(str(number)))
    assert scene.relay() == relay.BATCH
    relay.relay_all(scene.store, scene.queues)
    assert scene.queues["training"].depth().visible == 2 * relay.BATCH + 1
    _, request = scene.ask()
    with scene.store.begin() as records:
        records.outbox.post("training", TrainingRequest(request.id))
    relay.relay_all(scene.store, scene.queues)
    assert scene.store.state.requests[request.id].send_count == 1


def test_a_message_that_nobody_can_read_is_sent_nevertheless(scene: Scene) -> None:
    """The relay is no judge of contents: the queue's dead letters are."""
    now = scene.clock.now()
    scene.store.state.outbox.append(Message(1, "training", Outgoing("TrainingRequest", "rubbish"), now))
    _, request = scene.ask()
    assert scene.relay() == 2
    assert scene.queues["training"].depth().visible == 2
    assert scene.store.state.requests[request.id].send_count == 1


# --- the reconciler ---


def test_the_reconciler_is_idle_without_requests(scene: Scene) -> None:
    """The queue service is not asked when nothing is open."""

    def never() -> float:
        raise AssertionError

    assert Reconciler(scene.store, resend_seconds=60, queue_made_at=never).step() == 0


def test_what_is_sent_while_the_reconciler_looks_is_not_sent_twice(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay may mark a message between two looks, at the requests and at the outbox: it is sent all the same."""
    _, request = scene.ask()
    look = MemoryOutbox.waiting

    def marked_before(outbox: MemoryOutbox, queue: str) -> list[Outgoing]:
        state = outbox._state  # the transaction's, which sees what was committed meanwhile
        state.outbox[0].sent_at = state.requests[request.id].sent_at = scene.clock.now()
        return look(outbox, queue)

    monkeypatch.setattr(MemoryOutbox, "waiting", marked_before)
    assert Reconciler(scene.store, resend_seconds=60, queue_made_at=lambda: 0.0).step() == 0


def test_a_request_that_is_held_is_not_sent_again(scene: Scene) -> None:
    """However old its message is."""
    _, request = scene.ask()
    scene.relay()
    scene.claim(request.id, seconds=7200)
    scene.clock.advance(3600)
    assert Reconciler(scene.store, resend_seconds=60, queue_made_at=lambda: 0.0).step() == 0


def test_a_backed_off_request_is_looked_at_and_left(scene: Scene) -> None:
    """Sent twice, it is silent for longer than the first pause and shorter than the second."""
    _, request = scene.ask()
    scene.relay()
    scene.store.state.requests[request.id].send_count = 2
    scene.clock.advance(100)
    reconciler = Reconciler(scene.store, resend_seconds=60, queue_made_at=lambda: 0.0)
    assert reconciler.step() == 0
    scene.clock.advance(20)
    assert (reconciler.step(), reconciler.step()) == (1, 0)


def test_a_new_queue_gets_every_request_once(scene: Scene) -> None:
    """What was sent in the second in which the queue was made may be lost with the old one: sent again, once."""
    scene.ask()
    scene.store.state.add_rows("flights", 1)
    scene.ask()
    scene.relay()
    made_at = scene.clock.now().timestamp()
    reconciler = Reconciler(scene.store, resend_seconds=60, queue_made_at=lambda: made_at)
    for posted in (2, 0):
        assert reconciler.step() == posted
        scene.relay()
    assert scene.queues["training"].depth().visible == 4


# --- what is said ---


def test_what_resending_says(scene: Scene, said: Callable[..., Any]) -> None:
    """A line for each request with the reason and how often it was sent before."""
    _, request = scene.ask()
    scene.relay()
    assert said() == [("INFO", "relay.sent", {"messages": 1})]
    reconciler = Reconciler(scene.store, resend_seconds=60, queue_made_at=lambda: 0.0)
    scene.clock.advance(60)
    assert reconciler.step() == 1
    fields = {"request_id": request.id, "reason": "nobody took it", "sends": 1}
    assert said()[1:] == [("INFO", "request.sent_again", fields)]


def test_what_the_relay_says(scene: Scene, said: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """An old outbox, a queue that is away and a message that nobody can read have lines of their own."""
    scene.ask()
    with scene.store.begin() as records:
        records.outbox.post("arrived", DataArrived("flights", "b", 3))
    scene.store.state.outbox.append(Message(99, "training", Outgoing("Mystery", "x"), scene.clock.now()))
    scene.clock.advance(120.6)
    scene.queues["arrived"].outage = TransientError("away")
    with pytest.raises(TransientError, match=r"^away$"):
        scene.relay()
    assert sorted(said(), key=lambda line: line[1]) == [
        ("WARNING", "relay.outbox_old", {"oldest_seconds": 121, "limit_seconds": 120.0}),
        ("WARNING", "relay.queue_away", {"queue": "arrived", "messages": 1, "reason": "away"}),
        ("INFO", "relay.sent", {"messages": 2}),
        ("ERROR", "relay.unreadable_message", {"message_id": 99}),
    ]
    (error,) = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert "Mystery" in str(error)
