"""The way of log records out of this process: small ones as messages, many of them as one object and a pointer to it.

A queue takes messages one by one and wants each of them signed, sent and kept; an object store takes megabytes at once.
"""

from __future__ import annotations

import hashlib

from trainyard.messages import PredictionLogged, PredictionsStored
from trainyard.prediction_blocks import rows_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.queue import Queue

#: Packed records of one message: 180 KiB as base64, well under the queue's 256 KiB.
MESSAGE_BYTES = 135 * 1024
#: From so many bytes on, which are 200 KiB as base64, messages go to the store, and one message says where they are.
STORED_FROM_BYTES = 150 * 1024


class Outbox:
    """Sends to ``queue``, many records by way of ``blobs``."""

    def __init__(self, queue: Queue, blobs: BlobStore) -> None:
        self._queue = queue
        self._blobs = blobs

    def send(self, answers: Iterable[list[bytes]]) -> tuple[int, int]:
        """Send packed records; return the number of predictions, and how many messages the queue refused.

        The same records are stored under the same key, however often they are sent.

        Raises:
            TransientError: the store or the queue does not answer; the queue may hold some of the records.
        """
        made = list(joined(answers))
        if sum(len(message) for message, _ in made) > STORED_FROM_BYTES:
            outgoing = [self._store(b"".join([message for message, _ in made])).outgoing()]
        else:
            outgoing = [PredictionLogged.outgoing_of(message) for message, _ in made]
        refused = self._queue.send(outgoing) if outgoing else []
        return sum(count for _, count in made), len(refused)

    def _store(self, data: bytes) -> PredictionsStored:
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"predictions/{sha256}"
        self._blobs.put(key, data)
        return PredictionsStored(key, sha256, len(data))


def joined(answers: Iterable[list[bytes]]) -> Iterator[tuple[bytes, int]]:
    """Yield messages of at most MESSAGE_BYTES of records, not yet as base64, and the number of predictions in each."""
    held: list[bytes] = []
    size = 0
    for records in answers:
        for record in records:
            if held and size + len(record) > MESSAGE_BYTES:
                yield PredictionLogged.joined(held), sum(map(rows_in, held))
                held, size = [], 0
            held.append(record)
            size += len(record)
    if held:
        yield PredictionLogged.joined(held), sum(map(rows_in, held))
