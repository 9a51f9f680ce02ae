"""The prediction log of an environment that may vanish between two events: sent before the answer."""

from __future__ import annotations

from trainyard.errors import TransientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard_predictor.edges.outbox import Outbox


class LogRefusedError(OSError):
    """The queue did not take every record."""


class DirectLog:
    """Sends the records of each answer and waits until that is done."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def append(self, packed: Sequence[bytes]) -> None:
        """Send records; raises OSError when the queue did not take them all (it may hold some of them)."""
        try:
            _, refused = self._outbox.send([list(packed)])
        except TransientError as e:
            raise LogRefusedError(str(e)) from e
        if refused:
            raise LogRefusedError(f"the queue refused {refused} message(s)")
