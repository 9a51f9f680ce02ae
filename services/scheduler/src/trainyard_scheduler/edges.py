"""What makes the scheduler move without being asked over HTTP: loops that a clock or a notification wakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trainyard import logs
from trainyard.errors import TransientError
from trainyard.loops import Loop, backoff_seconds, run_threads
from trainyard_scheduler.domain.wakes import woken_by

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Sequence

_LISTEN_SECONDS = 1.0
_JOIN_SECONDS = 8.0
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


class Program:
    """All loops, each in a thread, and one more thread that listens and wakes them."""

    def __init__(self, loops: Sequence[Loop], ears: Ears, stop: threading.Event) -> None:
        self._loops = {loop.name: loop for loop in loops}
        self._ears = ears
        self._stop = stop

    def run(self) -> list[str]:
        """Run until the stop event is set; return the names of loops that ended by a fault, which stops the others.

        A loop that waits in a long poll is given some seconds to come back; a message it takes after that is seen
        again by others.
        """
        _log.info("scheduler.started", loops=", ".join(self._loops))
        faults = run_threads(
            {"listener": self._listen, **{name: loop.run for name, loop in self._loops.items()}},
            self._stop,
            stopping=lambda: self._wake(self._loops),
            join_seconds=_JOIN_SECONDS,
        )
        _log.info("scheduler.stopped", faults=", ".join(faults))
        return faults

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
                self._stop.wait(backoff_seconds(failures))
        self._ears.close()

    def _wake(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._loops:
                self._loops[name].wake()
