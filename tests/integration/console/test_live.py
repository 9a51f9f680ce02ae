"""Open pages hear that something changed, from one stream of the scheduler for all of them."""

from __future__ import annotations

import itertools
import queue
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import ManualClock
from trainyard.errors import ServiceError
from trainyard.testing.processes import wait_until
from trainyard_console import live
from trainyard_console.live import Live

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Browser, Services


class Scheduler:
    """A scheduler that tells what a test puts in, and counts who listens."""

    def __init__(self) -> None:
        self.told: queue.Queue[str | None] = queue.Queue()
        self.keys: list[str] = []

    def events(self, key: str) -> Iterator[str]:
        """Tell until a None comes."""
        self.keys.append(key)
        while (kind := self.told.get(timeout=10)) is not None:
            yield kind
        raise ServiceError("unavailable", "broken off")


def changes(stream: Iterator[bytes], count: int) -> list[bytes]:
    """Return the next events of a stream."""
    return list(itertools.islice((chunk for chunk in stream if chunk.startswith(b"event")), count))


def test_all_browsers_share_one_stream_and_it_is_renewed() -> None:
    """Two browsers hear the same event from one reader; broken off, the reader comes back; alone, it goes."""
    scheduler = Scheduler()
    hub = Live(scheduler, ManualClock())  # type: ignore[arg-type]  # of the API it uses the events alone
    first, second = hub.follow("key-1", "ann"), hub.follow("key-2", "bob")
    assert next(first).startswith(b"retry")
    assert next(second).startswith(b"retry")
    scheduler.told.put("batch.committed")
    assert changes(first, 1) == changes(second, 1) == [b"event: change\ndata: batch.committed\n\n"]
    scheduler.told.put(None)
    scheduler.told.put("run.ended")
    assert changes(first, 1) == [b"event: change\ndata: run.ended\n\n"]
    assert len(scheduler.keys) == 2
    first.close()  # type: ignore[attr-defined]
    second.close()  # type: ignore[attr-defined]
    scheduler.told.put("")
    wait_until(lambda: not hub._reading, "the reader to go")


def test_changes_in_a_burst_are_told_together_and_the_last_of_them_is_told() -> None:
    """The first at once; those that follow it closely as one, after them: an open page ends up as it is then."""
    scheduler, clock = Scheduler(), ManualClock()
    hub = Live(scheduler, clock)  # type: ignore[arg-type]
    stream = hub.follow("key-1", "ann")
    next(stream)
    scheduler.told.put("request.created")
    assert changes(stream, 1) == [b"event: change\ndata: request.created\n\n"]
    for kind in ("run.started", "run.progress", "run.done"):
        scheduler.told.put(kind)
    wait_until(lambda: scheduler.told.empty() and next(iter(hub._browsers)).qsize() == 3, "all to be told")
    assert changes(stream, 1) == [b"event: change\ndata: run.done\n\n"]
    assert next(iter(hub._browsers)).empty()
    assert clock.monotonic() > 0
    stream.close()  # type: ignore[attr-defined]
    scheduler.told.put("")
    wait_until(lambda: not hub._reading, "the reader to go")


def test_there_is_a_place_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """One browser too many is told to come back later, and its page goes by the clock; a place given back is free."""
    monkeypatch.setattr(live, "MOST_BROWSERS", 1)
    scheduler = Scheduler()
    hub = Live(scheduler, ManualClock())  # type: ignore[arg-type]
    first = hub.follow("key-1", "ann")
    next(first)
    assert list(hub.follow("key-2", "bob")) == [b"retry: 30000\n\n"]
    first.close()  # type: ignore[attr-defined]
    third = hub.follow("key-3", "bob")
    assert next(third) == b"retry: 3000\n\n"
    third.close()  # type: ignore[attr-defined]
    scheduler.told.put("")
    wait_until(lambda: not hub._reading, "the reader to go")


@pytest.mark.parametrize("unread", [0, 200])
def test_the_newest_pages_of_a_session_have_its_places(unread: int) -> None:
    """Whoever opens page after page keeps no places with those that were left: the oldest of a session ends first.

    However many changes it has not read yet; pages of others stay.
    """
    scheduler = Scheduler()
    hub = Live(scheduler, ManualClock())  # type: ignore[arg-type]
    other = hub.follow("key-2", "bob")
    pages = [hub.follow("key-1", "ann") for _ in range(live.MOST_OF_ONE)]
    for stream in (other, *pages):
        next(stream)
    for _ in range(unread):
        scheduler.told.put("run.ended")
    wait_until(scheduler.told.empty, "the changes to be told")
    newest = hub.follow("key-1", "ann")
    assert next(newest) == b"retry: 3000\n\n"
    assert list(pages[0])[-1] == b"retry: 30000\n\n"
    scheduler.told.put("batch.committed")
    for stream in (other, *pages[1:], newest):
        if not unread:
            assert changes(stream, 1) == [b"event: change\ndata: batch.committed\n\n"]
        stream.close()  # type: ignore[attr-defined]
    scheduler.told.put("")
    wait_until(lambda: not hub._reading, "the reader to go")


def test_the_route_is_a_stream_for_those_who_are_signed_in(viewer: Browser, services: Services) -> None:
    """Its content type is that of events, and nothing stores it."""
    services.kinds = ["batch.committed"]
    answer = viewer.get("/live", buffered=False)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    stream = answer.iter_encoded()
    assert next(stream).startswith(b"retry")
    assert changes(stream, 1) == [b"event: change\ndata: batch.committed\n\n"]
    answer.close()
