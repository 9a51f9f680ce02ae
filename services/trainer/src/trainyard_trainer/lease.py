"""Keeping a claimed request: a thread that renews the lease in the database and hides the message meanwhile."""

from __future__ import annotations

import collections
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
    from trainyard.contracts.runs import Lease, Runs, Trial
    from trainyard_trainer.run_log import RunLog

log = logs.get(__name__)

#: Beats without success after which the work must stop: whoever claims the request next must not find us at it.
_MISSED_BEATS = 2
_JOIN_SECONDS = 5.0
#: Quick trials end many at a time: those of so long are stored in one statement.
_GATHER_SECONDS = 0.25
#: Progress since the last beat is told with finished trials, if that is so long ago.
_TELL_SECONDS = 2.0


class LeaseKeeper:
    """Beats while it is entered; every beat renews lease and invisibility by the same constant, counted from now.

    While the work goes on this thread alone talks to the database, finished trials and the run's lines included: the
    thread that watches
    the training process never waits for a database that hangs, and sees by the clock that the lease is :attr:`lost`.

    That the queue has forgotten the message (an emulator that was restarted, a purge, a second delivery that made the
    receipt stale) is no reason to stop: the database has just said whose request it is, and it is the judge. If the
    run ends badly it leaves a fresh message behind, and if it dies the scheduler sends one.
    """

    def __init__(
        self,
        runs: Runs,
        queue: Queue,
        lease: Lease,
        receipt: str,
        *,
        lease_seconds: int,
        beat_seconds: float,
        clock: Clock,
        run_log: RunLog,
    ) -> None:
        self._runs = runs
        self._queue = queue
        self._lease = lease
        self._receipt = receipt
        self._seconds = lease_seconds
        self._every = beat_seconds
        self._clock = clock
        self.run_log = run_log
        self._renewed = clock.monotonic()
        self._refused = False
        self._progress: Mapping[str, Any] | None = None
        self._trials: collections.deque[Trial] = collections.deque()
        self._made: collections.Counter[str] = collections.Counter()
        self._storing = threading.Lock()
        self._woken = threading.Event()
        run_log.woken = self._wake
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="lease", daemon=True)
        self.cancelled = False

    def __enter__(self) -> LeaseKeeper:
        """Begin to beat."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop beating; a beat that hangs meanwhile can do no harm, its fence is refused."""
        self._ended.set()
        self._woken.set()
        self._thread.join(_JOIN_SECONDS)

    # --- what the run sees ---

    @property
    def lost(self) -> str:
        """Why the work must stop at once, '' while it need not: ``zombie`` or ``lease_lost`` (see LeaseLostError)."""
        if self._refused:
            return "zombie"
        return "lease_lost" if self._clock.monotonic() - self._renewed > _MISSED_BEATS * self._every else ""

    @property
    def over(self) -> bool:
        """True when the lease has run out or been taken: from now on somebody else may claim the request."""
        return self._refused or self._clock.monotonic() - self._renewed > self._seconds

    def report(self, progress: Mapping[str, Any]) -> None:
        """Give the next beat something to say about the run, and who has made how many trials, where several have."""
        self._progress = {**progress, "workers": dict(self._made)} if len(self._made) > 1 else progress

    def keep(self, trial: Trial) -> None:
        """Have a finished trial stored soon, with those that finish meanwhile, or as soon as the database answers."""
        self._trials.append(trial)
        self._made[trial.worker] += 1
        self._woken.set()

    def store_trials(self) -> None:
        """Store the trials that wait; those that the database does not take just now go on waiting."""
        with self._storing:
            try:
                while self._trials:
                    waiting = list(self._trials)
                    self._runs.keep_trials(self._lease, waiting)
                    for _ in waiting:
                        self._trials.popleft()
            except LeaseLostError:
                self._refused = True
            except TransientError as e:
                log.warning("trial.not_stored", waiting=len(self._trials), reason=str(e))

    # --- beating ---

    def beat(self) -> None:
        """Renew once: the lease, then the message's invisibility."""
        if not self._renew():
            return
        try:
            ours = self._queue.extend(self._receipt, self._seconds)  # the whole length from now, never more
        except TransientError as e:
            log.warning("message.not_hidden", reason=str(e))
            return
        if not ours:
            log.info("message.gone")

    def _renew(self) -> bool:
        """Renew the lease and tell the progress; return whether that is done."""
        begun = self._clock.monotonic()
        progress, self._progress = self._progress, None
        try:
            self.cancelled = self._runs.beat(self._lease, lease_seconds=self._seconds, progress=progress)
            self._renewed = begun
        except LeaseLostError:
            self._refused = True
            return False
        except TransientError as e:
            self._progress = self._progress or progress
            log.warning("lease.not_renewed", reason=str(e))
            return False
        return True

    def _wake(self) -> None:
        """Have lines stored soon; those that the keeper itself has logged, because it could not store, can wait."""
        if threading.current_thread() is not self._thread:
            self._woken.set()

    def _beat_on(self) -> None:
        last = self._clock.monotonic()
        while not self._refused:
            woken = self._woken.wait(max(0.0, self._every - (self._clock.monotonic() - last)))
            self._woken.clear()
            if self._ended.wait(_GATHER_SECONDS if woken else 0):
                return
            self.store_trials()
            self.run_log.store()
            if not woken or self._clock.monotonic() - last >= self._every:
                last = self._clock.monotonic()
                self.beat()
            elif self._progress is not None and self._clock.monotonic() - self._renewed >= _TELL_SECONDS:
                self._renew()
