"""One stream of events from the scheduler for all browsers that look: it gives out few of them.

A browser is told that something changed, and asks for the page again with its own rights: no event's content passes
here. While nobody looks, nothing is read.
"""

from __future__ import annotations

import contextlib
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
#: Of one session. A page that was left is noticed only when something is written to it; a browser keeps six connections
#: to a host at most, so of more streams than this the oldest are such pages, or would leave none for pages themselves.
MOST_OF_ONE = 4
_HEARTBEAT_SECONDS = 15.0
_LONGEST_SECONDS = 300.0
#: Between two changes that one browser hears of: each has it ask for its page.
_GAP_SECONDS = 0.4
_PAUSE_SECONDS = 1.0
_COME_BACK = b"retry: 3000\n\n"
#: To those for whom there is no place.
_COME_BACK_LATER = b"retry: 30000\n\n"
_log = logs.get(__name__)


class Live:
    """Tells browsers that something changed."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._browsers: dict[queue.Queue[str | None], tuple[str, str]] = {}
        self._reading = False

    def follow(self, key: str, session: str) -> Iterator[bytes]:
        """Yield server-sent events for one browser of a session, until it is time to look at that again."""
        changes: queue.Queue[str | None] = queue.Queue(maxsize=100)
        if not self._come(changes, key, session):
            yield _COME_BACK_LATER
            return
        try:
            yield _COME_BACK
            ends = self._clock.monotonic() + _LONGEST_SECONDS
            told = -_GAP_SECONDS
            while self._clock.monotonic() < ends:
                try:
                    kind = changes.get(timeout=_HEARTBEAT_SECONDS)
                except queue.Empty:
                    yield b": still here\n\n"
                    continue
                # What happens soon after a change is told with whatever else does, but told: the page would stay as it
                # was before the last of them.
                if kind is not None and (early := told + _GAP_SECONDS - self._clock.monotonic()) > 0:
                    self._clock.sleep(early)
                    kind = _newest(changes, kind)
                if kind is None:  # a newer page has this one's place
                    yield _COME_BACK_LATER
                    return
                told = self._clock.monotonic()
                yield f"event: change\ndata: {kind}\n\n".encode()
        finally:
            with self._lock:
                self._browsers.pop(changes, None)

    def _come(self, changes: queue.Queue[str | None], key: str, session: str) -> bool:
        with self._lock:
            own = [one for one, (_, whose) in self._browsers.items() if whose == session]
            if len(own) >= MOST_OF_ONE:
                self._dismiss(own[0])
            if len(self._browsers) >= MOST_BROWSERS:
                return False
            self._browsers[changes] = (key, session)
            if not self._reading:
                self._reading = True
                threading.Thread(target=self._read, name="console-live", daemon=True).start()
            return True

    def _dismiss(self, changes: queue.Queue[str | None]) -> None:
        """End a stream; the lock is held, so nobody else writes to it."""
        del self._browsers[changes]
        if changes.full():
            with contextlib.suppress(queue.Empty):
                changes.get_nowait()
        changes.put_nowait(None)

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
            key, _ = next(reversed(self._browsers.values()), (None, ""))
            self._reading = key is not None
            return key

    def _tell(self, kind: str) -> None:
        with self._lock:
            for changes in self._browsers:
                with contextlib.suppress(queue.Full):  # it has a hundred reasons to look again already
                    changes.put_nowait(kind)


def _newest(changes: queue.Queue[str | None], kind: str) -> str | None:
    """Take all that waits and return the last of it; None, wherever it stands, ends the stream."""
    newest: str | None = kind
    with contextlib.suppress(queue.Empty):
        while newest is not None:
            newest = changes.get_nowait()
    return newest
