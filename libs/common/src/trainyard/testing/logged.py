"""What has reached the queue of prediction logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.messages import PredictionLogged, decode

if TYPE_CHECKING:
    from trainyard.contracts.queue import Queue


def logged_records(queue: Queue) -> list[dict[str, Any]]:
    """Take all messages from the queue and return their records; any other message is an error of the test."""
    records: list[dict[str, Any]] = []
    while received := queue.receive(limit=10, wait_seconds=0, visibility_seconds=60):
        for message in received:
            decoded = decode(message.type, message.body)
            assert isinstance(decoded, PredictionLogged), decoded
            records += decoded.records
            queue.delete(message.receipt)
    return records
