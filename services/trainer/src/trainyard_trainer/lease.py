"""Keeping a claimed request: a thread that renews the lease in the database and hides the message meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.contracts.runs import LeaseLostError
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from trainyard.clock import Clock
    from trainyard.contracts.queue import Queue
    from trainyard.contracts.runs import Lease, Runs

log = logs.get(__name__)

#: Longest time between two renewals: a wish to cancel is seen this soon.
_MOST_SECONDS = 5.0


class LeaseKeeper:
    """Beats while it is entered. ``lost``: stop at once, it is not ours; ``cancelled``: somebody wants it stopped.

    The lease is given up when it could not be renewed for two thirds of its length: by then its end is near, and
    whoever claims it next must not find us at work. That the queue has forgotten the message (an emulator that was
    restarted, a stale receipt) costs nothing: the database says whose request it is.
    """

    def __init__(
        self, runs: Runs, queue: Queue, lease: Lease, receipt: str, *, lease_seconds: int, clock: Clock
    ) -> None:
        self._runs = runs
        self._queue = queue
        self._lease = lease
        self._receipt = receipt
        self._seconds = lease_seconds
        self._clock = clock
        self._renewed = self._hidden = clock.monotonic()
        self._progress: Mapping[str, Any] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="lease", daemon=True)
        self.lost = False
        self.cancelled = False

    def __enter__(self) -> LeaseKeeper:
        """Begin to beat."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop beating."""
        self._ended.set()
        self._thread.join(self._seconds)

    def report(self, progress: Mapping[str, Any]) -> None:
        """Give the next beat something to say about the run."""
        self._progress = progress

    def beat(self) -> None:
        """Renew once: the lease, and a third of its length after the last time, the message's invisibility."""
        begun = self._clock.monotonic()
        progress, self._progress = self._progress, None
        try:
            self.cancelled = self._runs.beat(self._lease, lease_seconds=self._seconds, progress=progress)
            self._renewed = begun
        except LeaseLostError:
            self.lost = True
            return
        except TransientError as e:
            log.warning("lease.not_renewed", reason=str(e))
            self.lost = self._clock.monotonic() - self._renewed > self._seconds * 2 / 3
            return
        if begun - self._hidden >= self._seconds / 3:
            self._hide(begun)

    def _hide(self, now: float) -> None:
        try:
            ours = self._queue.extend(self._receipt, self._seconds)  # the whole length from now, never more
        except TransientError as e:
            log.warning("message.not_hidden", reason=str(e))
            return
        self._hidden = now
        if not ours:
            log.info("message.gone")

    def _beat_on(self) -> None:
        every = min(self._seconds / 3, _MOST_SECONDS)
        while not self.lost and not self._ended.wait(every):
            self.beat()
