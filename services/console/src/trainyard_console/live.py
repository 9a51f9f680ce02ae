"""One stream of events from the scheduler for all browsers that look: it gives out few of them.

A browser is told that something changed, and asks for the page again with its own rights: no event's content passes
here. While nobody looks, nothing is read.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.clock import Clock
    from trainyard_console.use_cases import Api

#: Each holds a thread of the server; pages of later ones still renew themselves, only less often.
MOST_BROWSERS = 20
_HEARTBEAT_SECONDS = 15.0
_LONGEST_SECONDS = 300.0
_PAUSE_SECONDS = 1.0
_log = logs.get(__name__)


class Live:
    """Tells browsers that something changed."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._browsers: dict[queue.Queue[str], str] = {}
        self._reading = False

    def follow(self, key: str) -> Iterator[bytes]:
        """Yield server-sent events for one browser, until it is time to look at its session again."""
        changes: queue.Queue[str] = queue.Queue(maxsize=100)
        if not self._come(changes, key):
            return
        try:
            yield b"retry: 3000\n\n"
            ends = self._clock.monotonic() + _LONGEST_SECONDS
            while self._clock.monotonic() < ends:
                try:
                    kind = changes.get(timeout=_HEARTBEAT_SECONDS)
                    yield f"event: change\ndata: {kind}\n\n".encode()
                except queue.Empty:
                    yield b": still here\n\n"
        finally:
            with self._lock:
                del self._browsers[changes]

    def _come(self, changes: queue.Queue[str], key: str) -> bool:
        with self._lock:
            if len(self._browsers) >= MOST_BROWSERS:
                return False
            self._browsers[changes] = key
            if not self._reading:
                self._reading = True
                threading.Thread(target=self._read, name="console-live", daemon=True).start()
            return True

    def _read(self) -> None:
        while (key := self._someones_key()) is not None:
            try:
                for kind in self._api.events(key):
                    if kind:
                        self._tell(kind)
                    if not self._browsers:
                        break
            except ServiceError as e:
                _log.info("console.no_events", reason=str(e))
                self._clock.sleep(_PAUSE_SECONDS)

    def _someones_key(self) -> str | None:
        """Return the key of whoever came last; None, and reading has ended, when nobody is left."""
        with self._lock:
            key = next(reversed(self._browsers.values()), None)
            self._reading = key is not None
            return key

    def _tell(self, kind: str) -> None:
        with self._lock:
            browsers = list(self._browsers)
        for changes in browsers:
            try:
                changes.put_nowait(kind)
            except queue.Full:
                continue  # it has a hundred reasons to look again already
