"""The stand-in for Lambda on a queue: what it calls with, and what it settles."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from trainyard.clock import ManualClock
from trainyard.contracts.queue import Outgoing
from trainyard.errors import TransientError
from trainyard.testing.fakes.queue import MemoryQueue
from trainyard_predictor.poll import Look, Poller


@pytest.fixture
def queue() -> MemoryQueue:
    """A queue with three messages."""
    queue = MemoryQueue(ManualClock())
    queue.send([Outgoing("", "a"), Outgoing("Kind", "b"), Outgoing("", "c")])
    return queue


def left(queue: MemoryQueue, handle: Any) -> list[str]:
    """Poll once; return the bodies that come again."""
    Poller(queue, "asked", handle, visibility_seconds=30, wait_seconds=0).step()
    queue._clock.sleep(31)
    return sorted(m.body for m in queue.receive(limit=10, wait_seconds=0, visibility_seconds=1))


def test_only_what_failed_comes_again(queue: MemoryQueue) -> None:
    """The event is that of Lambda."""
    seen: list[Any] = []

    def handle(event: Any) -> Any:
        seen.extend(event["Records"])
        return {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in event["Records"] if r["body"] == "b"]}

    assert left(queue, handle) == ["b"]
    assert [record["body"] for record in seen] == ["a", "b", "c"]
    assert {record["eventSource"] for record in seen} == {"aws:sqs"}
    assert seen[1]["messageAttributes"]["type"]["stringValue"] == "Kind"
    assert seen[0]["attributes"]["ApproximateReceiveCount"] == "1"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"batchItemFailures": None},
        {"batchItemFailures": ["m"]},
        {"batchItemFailures": [{}]},
        {"batchItemFailures": [{"itemIdentifier": "nobody's"}]},
        {"batchItemFailures": [{"itemIdentifier": ["?"]}]},
    ],
    ids=str,
)
def test_an_answer_that_lambda_would_not_take_settles_nothing(queue: MemoryQueue, answer: Any) -> None:
    """Nor does an exception."""
    assert left(queue, lambda _event: answer) == ["a", "b", "c"]


def test_an_exception_settles_nothing_and_ends_nothing(queue: MemoryQueue) -> None:
    """The next round is called again."""

    def handle(event: Any) -> Any:
        raise RuntimeError("fault")

    assert left(queue, handle) == ["a", "b", "c"]


def test_an_empty_queue_calls_nobody() -> None:
    """As Lambda does not."""
    queue = MemoryQueue(ManualClock())
    Poller(queue, "asked", lambda _event: pytest.fail("called"), visibility_seconds=1, wait_seconds=0).step()


def test_after_the_end_no_message_is_taken_in_hand(queue: MemoryQueue) -> None:
    """A thread that was waiting for messages when the stop came leaves them to somebody else."""
    called: list[Any] = []
    poller = Poller(queue, "asked", called.append, visibility_seconds=30, wait_seconds=0)
    assert poller.finish(1)
    thread = threading.Thread(target=poller.step, daemon=True)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert called == []
    assert queue.depth().in_flight == 3


def test_a_look_that_fails_is_not_the_last() -> None:
    """A fault is reported, as Lambda does; an outage is the loop's to wait for."""
    answers: list[Any] = [KeyError("x"), TransientError("away"), None]
    asked: list[Any] = []

    def handle(event: Any) -> None:
        asked.append(event)
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    look = Look(handle)
    look.step()
    with pytest.raises(TransientError):
        look.step()
    look.step()
    assert asked == [{"batch_look": True}] * 3
