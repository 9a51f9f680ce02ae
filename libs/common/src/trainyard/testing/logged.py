"""What has reached the queue of prediction logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.messages import PredictionLogged, PredictionsStored, decode, stored_bodies
from trainyard.prediction_blocks import records_of

if TYPE_CHECKING:
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.queue import Queue


def logged_records(queue: Queue, blobs: BlobStore | None = None) -> list[dict[str, Any]]:
    """Take all messages from the queue and return their records; any other message is an error of the test.

    ``blobs``: where records may be stored that are too many for the queue; None: there must be no such.
    """
    records: list[dict[str, Any]] = []
    while received := queue.receive(limit=10, wait_seconds=0, visibility_seconds=60):
        for message in received:
            decoded = decode(message.type, message.body)
            if isinstance(decoded, PredictionsStored) and blobs is not None:
                bodies = stored_bodies(blobs.get(decoded.key).data)
                found = [decode(PredictionLogged.type, body) for body in bodies]
            else:
                found = [decoded]
            for one in found:
                assert isinstance(one, PredictionLogged), one
                records += [record for entry in one.records for record in records_of(entry)]
            queue.delete(message.receipt)
    return records
