"""The prediction log of an environment that may vanish between two events: sent before the answer."""

from __future__ import annotations

import hashlib

from trainyard.errors import TransientError
from trainyard.messages import PredictionsStored
from trainyard_predictor.edges.shipper import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.queue import Queue

#: From so many bytes on, the messages of one answer go to S3 and one message says where they are.
STORED_FROM_BYTES = 200 * 1024


class LogRefusedError(OSError):
    """The queue did not take every record."""


class DirectLog:
    """Sends the records of each answer to ``queue``, many of them by way of ``blobs``, and waits until that is done."""

    def __init__(self, queue: Queue, blobs: BlobStore) -> None:
        self._queue = queue
        self._blobs = blobs

    def append(self, packed: Sequence[bytes]) -> None:
        """Send records; raises OSError when the queue did not take them all (it may hold some of them)."""
        outgoing = [message for message, _ in messages([list(packed)])]
        try:
            if sum(message.size_bytes for message in outgoing) > STORED_FROM_BYTES:
                outgoing = [self._store([message.body for message in outgoing]).outgoing()]
            refused = self._queue.send(outgoing)
        except TransientError as e:
            raise LogRefusedError(str(e)) from e
        if refused:
            raise LogRefusedError(f"the queue refused {len(refused)} of {len(outgoing)} messages")

    def _store(self, bodies: list[str]) -> PredictionsStored:
        data = "\n".join(bodies).encode()
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"predictions/{sha256}"
        self._blobs.put(key, data)
        return PredictionsStored(key, sha256, len(data))
