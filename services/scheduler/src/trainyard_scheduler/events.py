"""Server-sent events from the journal: each stream has a connection that listens, so their number is bounded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainyard import logs, strict_json
from trainyard.errors import ServiceError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard.clock import Clock
    from trainyard.contracts.scheduling import Event, Store
    from trainyard_scheduler.edges import Ears

MOST_STREAMS = 4
_HEARTBEAT_SECONDS = 15.0
_LONGEST_SECONDS = 600.0
_PAGE = 200
#: Ids are given out before COMMIT, so an event may become visible after one with a higher id: look back that far.
_LOOK_BACK = 100
_log = logs.get(__name__)


class EventStreams:
    """Opens streams; each ends after ten minutes, and the reader comes back with ``Last-Event-ID``."""

    def __init__(self, store: Store, ears: Callable[[], Ears], clock: Clock) -> None:
        self._store = store
        self._ears = ears
        self._clock = clock
        self._free = threading.BoundedSemaphore(MOST_STREAMS)

    def open(self, after: int | None) -> Iterator[bytes]:
        """Return a stream of the events behind the id ``after``, or of those from now on.

        Raises:
            ServiceError: ``unavailable``: all streams are in use.
        """
        ears = self._ears()
        if not self._free.acquire(blocking=False):
            raise ServiceError("unavailable", f"all {MOST_STREAMS} event streams are in use", retry_after_seconds=5)
        try:
            ears.connect()
            with self._store.begin() as records:
                last = records.journal.last_event()
        except BaseException:
            ears.close()
            self._free.release()
            raise
        # An id beyond the last one is of another database: whoever waited for it would wait for ever.
        return _Stream(self._follow(ears, last if after is None else min(after, last)), ears, self._free)

    def _follow(self, ears: Ears, after: int) -> Iterator[bytes]:
        yield b"retry: 1000\n\n"
        ends = self._clock.monotonic() + _LONGEST_SECONDS
        seen: set[int] = set()
        highest = after
        while self._clock.monotonic() < ends:
            with self._store.begin() as records:
                events = records.journal.events(max(after, highest - _LOOK_BACK), _PAGE)
            news = [event for event in events if event.id not in seen]
            for event in news:
                seen.add(event.id)
                highest = max(highest, event.id)
                yield encoded(event)
            seen = {number for number in seen if number > highest - 2 * _LOOK_BACK}
            if not news and not ears.wait(_HEARTBEAT_SECONDS):
                yield b": still here\n\n"


class _Stream:
    """An iterator that gives its place back when the server closes it, however far it was read."""

    def __init__(self, chunks: Iterator[bytes], ears: Ears, free: threading.BoundedSemaphore) -> None:
        self._chunks = chunks
        self._ears = ears
        self._free = free
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except TransientError as e:
            _log.info("events.stream_broken", reason=str(e))
            raise StopIteration from e

    def close(self) -> None:
        """End the stream."""
        if not self._closed:
            self._closed = True
            self._ears.close()
            self._free.release()


def encoded(event: Event) -> bytes:
    """Return the event as it travels."""
    data = strict_json.dumps(
        {"subject": event.subject, "payload": dict(event.payload), "at": event.at.isoformat()}
    ).decode()
    kind = "".join(ch for ch in event.kind if ch.isprintable())
    return f"id: {event.id}\nevent: {kind}\ndata: {data}\n\n".encode()
