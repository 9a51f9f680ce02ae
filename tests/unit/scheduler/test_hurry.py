"""Publishing for a caller who waits: at once when it can be, and never at the caller's expense."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.auth import KEYS_OBJECT
from trainyard.clock import ManualClock
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import TransientError
from trainyard.testing.fakes import MemoryBlobs, MemoryStore
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import delete_model, put_model
from trainyard_scheduler.use_cases.publish import Hurry, KeyPublisher, ModelPublisher, Publisher

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.blobs import Blob

#: How long a test waits for what must come; each change to the publisher that lets nothing come costs this.
DEADLINE = 3.0


def test_caller_waits_for_what_was_changed() -> None:
    """When the call returns, a publication that began after it is over."""
    published: list[int] = []
    hurry = Hurry(lambda: published.append(1), patience_seconds=DEADLINE)
    for number in range(1, 4):
        assert hurry()
        assert len(published) == number


@pytest.mark.parametrize("error", [TransientError("away"), ValueError("a fault"), KeyError("x")])
def test_failures_stay_inside(error: Exception) -> None:
    """Whatever publishing raises, the caller is not told by an exception, and the next call tries again."""
    errors: list[Exception | None] = [error, None]
    calls: list[int] = []

    def publish() -> None:
        calls.append(1)
        if (raised := errors.pop(0)) is not None:
            raise raised

    hurry = Hurry(publish, patience_seconds=DEADLINE)
    assert hurry()
    assert hurry()
    assert len(calls) == 2


def test_a_store_that_hangs_keeps_nobody() -> None:
    """Callers give up after their patience, share one thread, and what they asked for is done when it can be."""
    free, calls, done = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    def publish() -> None:
        calls.release()
        free.wait(DEADLINE)
        done.release()

    hurry = Hurry(publish, patience_seconds=0.01)
    assert not hurry()
    assert calls.acquire(timeout=DEADLINE)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: hurry(), range(8))) == [False] * 8
    assert not calls.acquire(blocking=False)
    free.set()
    for _ in range(2):  # the one that hung, and one more for all who came meanwhile
        assert done.acquire(timeout=DEADLINE)


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that can start no thread answers all the same."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    hurry = Hurry(lambda: None, patience_seconds=DEADLINE)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert not hurry()
    assert hurry()


def test_what_is_said(
    monkeypatch: pytest.MonkeyPatch, said: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """An outage and a lack of threads are warnings, a fault is an error; the thread has a name and keeps nobody up."""
    seen: list[tuple[str, bool]] = []
    errors: list[Exception] = [TransientError("away"), ValueError("a fault")]

    def publish() -> None:
        thread = threading.current_thread()
        seen.append((thread.name, thread.daemon))
        raise errors.pop(0)

    hurry = Hurry(publish, patience_seconds=DEADLINE)
    assert [hurry(), hurry()] == [True, True]
    assert seen == [("hurry", True)] * 2

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("no thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not hurry()
    assert said() == [
        ("WARNING", "publish.postponed", {"reason": "away"}),
        ("ERROR", "publish.fault", {}),
        ("WARNING", "publish.postponed", {"reason": "no thread"}),
    ]
    assert [repr(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["ValueError('a fault')"]


class Counting(MemoryBlobs):
    """A store that notes what is read, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[str, str | None]] = []

    def get(self, key: str) -> Blob:
        """Note a read of the whole object."""
        self.reads.append((key, None))
        return super().get(key)

    def get_if_changed(self, key: str, etag: str | None) -> Blob | None:
        """Note a read under an etag."""
        blob = super().get(key)
        self.reads.append((key, etag))
        return None if blob.etag == etag else blob


def test_both_kinds_are_published(said: Callable[..., Any]) -> None:
    """Keys and models go out in one step; what stands as it was written is not read again."""
    store, blobs = MemoryStore(ManualClock()), Counting()
    store.state.add_dataset("flights", ({"name": "late", "type": "bool"},))
    with store.begin() as records:
        put_model(records, "late", {"dataset": "flights", "label": "late"}, By("test", "trace"))
    publisher = Publisher(store, blobs)
    publisher.step()
    assert [info.key for info in blobs.list("")] == [KEYS_OBJECT, "catalogue/late"]
    assert MemoryBlobs.get(blobs, "catalogue/late").data == b""
    etag = MemoryBlobs.get(blobs, KEYS_OBJECT).etag
    blobs.reads.clear()
    publisher.step()
    assert blobs.reads == [(KEYS_OBJECT, etag)]
    another = Publisher(store, blobs)
    another.step()
    blobs.reads.clear()
    another.step()
    assert blobs.reads == [(KEYS_OBJECT, etag)]
    with store.begin() as records:
        delete_model(records, "late", By("test", "trace"))
    publisher.step()
    assert said() == [
        ("INFO", "keys.published", {}),
        ("INFO", "object.published", {"key": "catalogue/late"}),
        ("INFO", "object.unpublished", {"key": "catalogue/late"}),
    ]


def test_what_changes_between_two_looks() -> None:
    """A model that came or went while the listing was read is written, or removed, as it is then."""
    store, blobs = MemoryStore(ManualClock()), MemoryBlobs()
    store.state.add_dataset("flights", ({"name": "late", "type": "bool"},))
    blobs.put("catalogue/b", b"")
    publisher = ModelPublisher(store, blobs)
    looks = iter([{"catalogue/a": b""}, {"catalogue/b": b""}])
    publisher._wanted = lambda: next(looks)  # type: ignore[method-assign]
    assert publisher.step() == 2
    assert [info.key for info in blobs.list("")] == ["catalogue/b"]


@pytest.mark.parametrize("kind", [ModelPublisher, KeyPublisher])
def test_an_object_that_vanishes_between_list_and_read(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written again."""
    store, blobs = MemoryStore(ManualClock()), MemoryBlobs()
    store.state.add_dataset("flights", ({"name": "late", "type": "bool"},))
    with store.begin() as records:
        put_model(records, "late", {"dataset": "flights", "label": "late"}, By("test", "trace"))
    kind(store, blobs).step()

    def gone(*_: Any) -> Any:
        raise BlobMissingError("gone")

    monkeypatch.setattr(blobs, "get", gone)
    assert kind(store, blobs).step() == 1
