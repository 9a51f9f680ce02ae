"""What makes the scheduler move without being asked over HTTP: loops that a clock or a notification wakes."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Protocol

from trainyard import logs
from trainyard.errors import TransientError
from trainyard_scheduler.domain import woken_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MAX_BACKOFF_SECONDS = 2.0
_LISTEN_SECONDS = 1.0
_JOIN_SECONDS = 8.0
_random = secrets.SystemRandom()
_log = logs.get(__name__)


class Ears(Protocol):
    """Hears the kinds of events as they are committed."""

    def connect(self) -> None:
        """Start to listen."""
        ...

    def wait(self, seconds: float) -> list[str]:
        """Return what was heard."""
        ...

    def close(self) -> None:
        """Stop to listen."""
        ...


class Loop:
    """Calls ``step`` every ``period`` seconds and at once after :meth:`wake`; survives outages, not faults.

    Args:
        step: one round of work; may raise TransientError, which costs a pause of up to 2 s.
        period: seconds; 0 for a step that waits by itself.
    """

    def __init__(self, name: str, step: Callable[[], object], *, period: float, stop: threading.Event) -> None:
        self.name = name
        self._step = step
        self._period = period
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
                self._stop.wait(_backoff_seconds(failures))
                continue
            if failures:
                _log.info("loop.recovered", loop=self.name, failures=failures)
                failures = 0
            if self._period:
                self._woken.wait(self._period)


class Program:
    """All loops, each in a thread, and one more thread that listens and wakes them."""

    def __init__(self, loops: Sequence[Loop], ears: Ears, stop: threading.Event) -> None:
        self._loops = {loop.name: loop for loop in loops}
        self._ears = ears
        self._stop = stop
        self._faults: list[str] = []

    def run(self) -> list[str]:
        """Run until the stop event is set; return the names of loops that ended by a fault, which stops the others.

        A loop that waits in a long poll is given some seconds to come back; a message it takes after that is seen
        again by others.
        """
        work: Mapping[str, Callable[[], None]] = {
            "listener": self._listen,
            **{name: loop.run for name, loop in self._loops.items()},
        }
        threads = [
            threading.Thread(target=self._guarded, args=(name, run), name=name, daemon=True)
            for name, run in work.items()
        ]
        for thread in threads:
            thread.start()
        _log.info("scheduler.started", loops=", ".join(self._loops))
        self._stop.wait()
        for loop in self._loops.values():
            loop.wake()
        for thread in threads:
            thread.join(_JOIN_SECONDS)
        _log.info("scheduler.stopped", faults=", ".join(self._faults))
        return self._faults

    def _guarded(self, name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as e:  # noqa: BLE001 - a thread must not die unseen: the process ends and is started again
            _log.error("loop.fault", loop=name, error=e)
            self._faults.append(name)
            self._stop.set()

    def _listen(self) -> None:
        failures = 0
        connected = False
        while not self._stop.is_set():
            try:
                if not connected:
                    self._ears.connect()
                    connected = True
                    self._wake(self._loops)  # whatever happened while nobody listened
                for kind in dict.fromkeys(self._ears.wait(_LISTEN_SECONDS)):
                    self._wake(woken_by(kind))
                failures = 0
            except TransientError as e:
                connected = False
                failures += 1
                _log.warning("listener.failed", failures=failures, reason=str(e))
                self._stop.wait(_backoff_seconds(failures))
        self._ears.close()

    def _wake(self, names: Sequence[str] | Mapping[str, Loop]) -> None:
        for name in names:
            if name in self._loops:
                self._loops[name].wake()


def patiently(step: Callable[[], None], what: str, stop: threading.Event) -> None:
    """Call ``step`` until it succeeds once, or until the stop."""
    failures = 0
    while not stop.is_set():
        try:
            step()
        except TransientError as e:
            failures += 1
            _log.warning("start.waiting", for_=what, failures=failures, reason=str(e))
            stop.wait(_backoff_seconds(failures))
        else:
            return


def _backoff_seconds(failures: int) -> float:
    return min(_MAX_BACKOFF_SECONDS, 0.1 * 2.0 ** min(failures, 10)) * _random.uniform(0.5, 1.0)
