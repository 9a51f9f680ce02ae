"""The prediction log of an environment that may vanish between two events: sent before the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.errors import TransientError
from trainyard_predictor.edges.shipper import messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.queue import Queue


class LogRefusedError(OSError):
    """The queue did not take every record."""


class DirectLog:
    """Sends the records of each answer to ``queue`` and waits until it has them."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def append(self, packed: Sequence[bytes]) -> None:
        """Send records; raises OSError when the queue did not take them all (it may hold some of them)."""
        outgoing = [message for message, _ in messages([list(packed)])]
        try:
            refused = self._queue.send(outgoing)
        except TransientError as e:
            raise LogRefusedError(str(e)) from e
        if refused:
            raise LogRefusedError(f"the queue refused {len(refused)} of {len(outgoing)} messages")
