"""What every queue does. The class needs the fixtures ``queue`` (empty), ``dead_letters`` and ``clock``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainyard.contracts.queue import MAX_BYTES, MAX_DELAY_SECONDS, Depth, Outgoing

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.contracts.queue import Queue, Received

_SECONDS = 30


def _take(queue: Queue, *, limit: int = 1, visibility_seconds: int = _SECONDS) -> list[Received]:
    return queue.receive(limit=limit, wait_seconds=0, visibility_seconds=visibility_seconds)


class QueueContract:
    """Sending, receiving, settling, extending, counting and burying."""

    def test_message_comes_back_as_it_was_sent(self, queue: Queue) -> None:
        """A message keeps its type and body, and its first receive is counted as one."""
        assert queue.send([Outgoing("TrainingRequest", "äöü+/=")]) == []
        (message,) = _take(queue)
        assert (message.type, message.body, message.receive_count) == ("TrainingRequest", "äöü+/=", 1)

    def test_more_messages_than_one_call_takes(self, queue: Queue) -> None:
        """Twenty-five messages all arrive, at most ten at a time."""
        sent = [Outgoing("T", f"body {i}") for i in range(25)]
        assert queue.send(sent) == []
        received = [message for _ in range(3) for message in _take(queue, limit=10)]
        assert sorted(m.body for m in received) == sorted(m.body for m in sent)

    def test_more_bytes_than_one_call_takes(self, queue: Queue) -> None:
        """Messages that together exceed one call's bytes all arrive."""
        sent = [Outgoing("T", letter * 200_000) for letter in "abc"]
        assert queue.send(sent) == []
        bodies = [message.body for _ in range(3) for message in _take(queue, limit=10)]
        assert sorted(bodies) == [m.body for m in sent]

    def test_it_stays_the_same_queue(self, queue: Queue) -> None:
        """Using a queue does not change when it was made."""
        made_at = queue.made_at()
        assert made_at > 0
        queue.send([Outgoing("T", "x")])
        _take(queue)
        assert queue.made_at() == made_at

    def test_nothing_to_send(self, queue: Queue) -> None:
        """Sending no message is allowed and sends none."""
        assert queue.send([]) == []
        assert queue.depth() == Depth(0, 0, 0)

    def test_delayed_message_is_seen_later(self, queue: Queue, clock: Clock) -> None:
        """A delay hides one message, not its neighbours of the same call, and is no receive."""
        queue.send([Outgoing("T", "later", delay_seconds=1), Outgoing("T", "now")])
        assert [message.body for message in _take(queue, limit=10)] == ["now"]
        assert queue.depth() == Depth(visible=0, in_flight=1, delayed=1)
        clock.sleep(1.2)
        (late,) = _take(queue, limit=10)
        assert (late.body, late.receive_count) == ("later", 1)

    @pytest.mark.parametrize(
        "bad",
        [
            Outgoing("T", "x" * MAX_BYTES),
            Outgoing("T", ""),
            Outgoing("", "x"),
            Outgoing("T", "x", delay_seconds=MAX_DELAY_SECONDS + 1),
            Outgoing("T", "x", delay_seconds=-1),
        ],
        ids=["too large", "no body", "no type", "too late", "in the past"],
    )
    def test_impossible_message_sends_nothing(self, queue: Queue, bad: Outgoing) -> None:
        """A message that no queue can carry is refused before its neighbours are sent."""
        with pytest.raises(ValueError, match="message 1 has"):
            queue.send([Outgoing("T", "fine"), bad])
        assert queue.depth().total == 0

    @pytest.mark.parametrize(
        ("limit", "wait", "visibility"), [(0, 0, 1), (11, 0, 1), (1, 21, 1), (1, -1, 1), (1, 0, 43_201)]
    )
    def test_impossible_receive(self, queue: Queue, limit: int, wait: int, visibility: int) -> None:
        """Arguments outside SQS's limits are a mistake of the caller, not a failure of the service."""
        with pytest.raises(ValueError, match="is"):
            queue.receive(limit=limit, wait_seconds=wait, visibility_seconds=visibility)

    def test_received_message_is_hidden(self, queue: Queue) -> None:
        """While one reader works on a message no other reader sees it."""
        queue.send([Outgoing("T", "x")])
        assert len(_take(queue)) == 1
        assert _take(queue) == []

    def test_message_returns_after_visibility(self, queue: Queue, clock: Clock) -> None:
        """A message that was not settled in time is delivered again, under the same id, and counted."""
        queue.send([Outgoing("T", "x")])
        (first,) = _take(queue, visibility_seconds=1)
        clock.sleep(1.2)
        (second,) = _take(queue)
        assert second.message_id == first.message_id
        assert second.receive_count == 2

    def test_wait_ends_when_a_message_comes_back(self, queue: Queue) -> None:
        """A waiting reader gets a message as soon as it becomes visible."""
        queue.send([Outgoing("T", "x")])
        _take(queue, visibility_seconds=1)
        assert len(queue.receive(limit=1, wait_seconds=10, visibility_seconds=_SECONDS)) == 1

    def test_wait_for_nothing(self, queue: Queue) -> None:
        """A reader of an empty queue gets an empty answer after its wait."""
        assert queue.receive(limit=10, wait_seconds=1, visibility_seconds=_SECONDS) == []

    def test_deleted_message_stays_away(self, queue: Queue, clock: Clock) -> None:
        """A settled message does not return when its visibility ends, and settling twice is no error."""
        queue.send([Outgoing("T", "x")])
        (message,) = _take(queue, visibility_seconds=1)
        queue.delete(message.receipt)
        queue.delete(message.receipt)
        clock.sleep(1.2)
        assert _take(queue) == []
        assert queue.depth().total == 0

    def test_stale_receipt_is_no_error(self, queue: Queue) -> None:
        """Whoever lost a message may still try to settle it; the new owner can settle it afterwards."""
        queue.send([Outgoing("T", "x")])
        (old,) = _take(queue, visibility_seconds=0)
        (new,) = _take(queue)
        queue.delete(old.receipt)
        queue.delete(new.receipt)
        assert queue.depth().total == 0

    def test_extend_keeps_the_message_hidden(self, queue: Queue, clock: Clock) -> None:
        """The extension counts from the call, not from the receive."""
        queue.send([Outgoing("T", "x")])
        (message,) = _take(queue, visibility_seconds=1)
        assert queue.extend(message.receipt, _SECONDS)
        clock.sleep(1.2)
        assert _take(queue) == []

    def test_extend_by_zero_gives_the_message_back(self, queue: Queue) -> None:
        """A reader that cannot do the work hands it to the next one at once."""
        queue.send([Outgoing("T", "x")])
        (message,) = _take(queue)
        assert queue.extend(message.receipt, 0)
        assert len(_take(queue)) == 1

    def test_extend_after_delete(self, queue: Queue) -> None:
        """A settled message is nobody's: extending it says so."""
        queue.send([Outgoing("T", "x")])
        (message,) = _take(queue)
        queue.delete(message.receipt)
        assert not queue.extend(message.receipt, _SECONDS)

    def test_extend_with_a_receipt_of_nothing(self, queue: Queue) -> None:
        """A receipt that the queue never gave is not ours."""
        assert not queue.extend("AQEB-never-given", _SECONDS)

    def test_depth_by_state(self, queue: Queue) -> None:
        """Visible and hidden messages are counted apart."""
        queue.send([Outgoing("T", str(i)) for i in range(5)])
        _take(queue, limit=2)
        assert queue.depth() == Depth(visible=3, in_flight=2, delayed=0)

    def test_sixth_receive_goes_to_the_dead_letters(self, queue: Queue, dead_letters: Queue) -> None:
        """A message that came back five times is buried with its type and body, and no longer delivered."""
        queue.send([Outgoing("T", "poison")])
        for _ in range(5):
            (message,) = _take(queue)
            assert queue.extend(message.receipt, 0)
        assert _take(queue) == []
        (buried,) = _take(dead_letters)
        assert (buried.type, buried.body) == ("T", "poison")
        assert queue.depth().total == 0
