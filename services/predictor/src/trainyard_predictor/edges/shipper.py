"""The road from the spool to the queue: whole segments, at least once.

A queue may be lost with all that it holds: the emulator keeps its queues in memory, and somebody may delete one. Then
it is made again, empty. So what was sent is kept for KEEP_SECONDS, in which a reader has long taken it, and sent again
when the queue turns out to be another one. The reader stores no record twice.
"""

from __future__ import annotations

import threading

from trainyard import logs
from trainyard.errors import TransientError
from trainyard_predictor.edges.outbox import Outbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.queue import Queue
    from trainyard_predictor.edges.spool import Segment, Spool

#: How long sent segments are kept, and how often the queue is looked at meanwhile.
KEEP_SECONDS = 120.0
_LOOK_SECONDS = 2.0
_log = logs.get(__name__)


class Shipper:
    """Sends what the spool holds; used by one thread at a time. ``sent`` and ``failures`` are counts."""

    def __init__(self, spool: Spool, queue: Queue, blobs: BlobStore, clock: Clock) -> None:
        self._spool = spool
        self._queue = queue
        self._outbox = Outbox(queue, blobs)
        self._clock = clock
        self._lock = threading.Lock()
        self._queue_made_at: int | None = None
        self._looked_at = -_LOOK_SECONDS
        self.sent = 0
        self.failures = 0

    def ship(self) -> bool:
        """Send every waiting segment; return False when the queue did not take everything (it stays spooled)."""
        with self._lock:
            self._spool.forget(before=self._clock.monotonic() - KEEP_SECONDS)
            try:
                self._look_at_queue()
            except TransientError as e:
                _log.warning("predictions.not_sent", reason=str(e))
                self.failures += 1
                return False
            for segment in self._spool.waiting():
                if not self._ship(segment):
                    self.failures += 1
                    return False
                self._spool.shipped(segment, at=self._clock.monotonic())
            return True

    def drain(self, seconds: float) -> bool:
        """Ship for at most about ``seconds``; return whether the spool is empty."""
        deadline = self._clock.monotonic() + seconds
        while not self.ship():
            if self._clock.monotonic() >= deadline:
                return False
            self._clock.sleep(0.2)
        return True

    def _look_at_queue(self) -> None:
        """Let everything be sent again that was sent to a queue which is no more; nothing is sent before a look."""
        now = self._clock.monotonic()
        if self._queue_made_at is not None and now < self._looked_at + _LOOK_SECONDS:
            return
        made_at = self._queue.made_at()
        self._looked_at = now
        if self._queue_made_at not in {None, made_at} and (again := self._spool.send_again()):
            _log.warning("predictions.sent_again", segments=again, reason="the queue was lost and made again")
        self._queue_made_at = made_at

    def _ship(self, segment: Segment) -> bool:
        """Send one segment; when part of it was taken before the queue failed, that part is sent again later."""
        try:
            records, refused = self._outbox.send(segment.answers())
        except TransientError as e:
            _log.warning("predictions.not_sent", reason=str(e), segment=segment.path.name)
            return False
        if refused:
            _log.warning("predictions.refused", messages=refused, segment=segment.path.name)
            return False
        self.sent += records
        return True
