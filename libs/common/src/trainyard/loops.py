"""What a process does again and again: loops in threads that outlive outages, and the signals that end them."""

from __future__ import annotations

import _thread
import secrets
import signal
import threading
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FIRST_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.1, 2.0
#: How long a signal may go unseen that the kernel has given to another thread than the main one: Python answers signals
#: in the main thread only, and a wait without an end is not interrupted by what another thread received.
_SIGNAL_SECONDS = 0.5
_random = secrets.SystemRandom()
_log = logs.get(__name__)


def backoff_seconds(failures: int) -> float:
    """Return how long to wait after that many failures in a row: up to 2 s, with jitter."""
    most = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 10))
    return most * _random.uniform(0.5, 1.0)


class Loop:
    """Calls ``step`` every ``period`` seconds and at once after :meth:`wake`; survives outages, not faults.

    Args:
        step: one round of work; may raise TransientError, which costs a pause of up to 2 s.
        period: seconds; 0 for a step that waits by itself.
        recovered: called after the first step that works again after an outage.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], object],
        *,
        stop: threading.Event,
        period: float = 0.0,
        recovered: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self._step = step
        self._period = period
        self._recovered = recovered
        self._stop = stop
        self._woken = threading.Event()

    def wake(self) -> None:
        """Let the next step begin now."""
        self._woken.set()

    def run(self) -> None:
        """Work until the stop; anything but a TransientError ends the loop and is raised."""
        failures = 0
        while not self._stop.is_set():
            self._woken.clear()
            try:
                self._step()
            except TransientError as e:
                failures += 1
                _log.warning("loop.failed", loop=self.name, failures=failures, reason=str(e))
                self._stop.wait(backoff_seconds(failures))
                continue
            if failures:
                _log.info("loop.recovered", loop=self.name, failures=failures)
                failures = 0
                if self._recovered is not None:
                    self._recovered()
            # A stop may have woken this loop just before it cleared that; who wakes it for a stop sets the stop first.
            if self._period and not self._stop.is_set():
                self._woken.wait(self._period)


def run_threads(
    work: Mapping[str, Callable[[], None]],
    stop: threading.Event,
    *,
    stopping: Callable[[], None] = lambda: None,
    join_seconds: float | None = None,
) -> list[str]:
    """Run each piece of work in a thread until ``stop``; return the names of those that ended by a fault.

    A fault in one stops the others.

    Args:
        stopping: called when the stop has come, before the threads are waited for.
        join_seconds: how long each thread is waited for, None: until it ends. One that comes back later ends with the
            process.
    """
    faults: list[str] = []

    def guarded(name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as e:  # noqa: BLE001 - a thread must not die unseen: the process ends and is started again
            _log.error("loop.fault", loop=name, error=e)
            faults.append(name)
            stop.set()

    threads = [
        threading.Thread(target=guarded, args=(name, run), name=name, daemon=join_seconds is not None)
        for name, run in work.items()
    ]
    for thread in threads:
        thread.start()
    while not stop.wait(_SIGNAL_SECONDS):
        pass
    stopping()
    for thread in threads:
        thread.join(join_seconds)
    return faults


def patiently(step: Callable[[], None], what: str, stop: threading.Event) -> None:
    """Call ``step`` until it succeeds once, or until the stop."""
    failures = 0
    while not stop.is_set():
        try:
            step()
        except TransientError as e:
            failures += 1
            _log.warning("start.waiting", what=what, failures=failures, reason=str(e))
            stop.wait(backoff_seconds(failures))
        else:
            return


def on_stop_signals(stop: Callable[[str], object], *, insist: bool = True) -> None:
    """Call ``stop`` with the signal's name when SIGTERM or SIGINT comes. Call from the main thread.

    Args:
        insist: the same signal once more ends the process at once; otherwise it only calls ``stop`` again.
    """

    def on_signal(number: int, _frame: object) -> None:
        if insist:
            signal.signal(number, signal.SIG_DFL)
        # Not in here: the main thread may be about to wait for the event that ``stop`` sets, and hold its lock.
        _thread.start_new_thread(stop, (signal.Signals(number).name,))

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
