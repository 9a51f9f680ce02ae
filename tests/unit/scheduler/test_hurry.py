"""Publishing for a caller who waits: at once when it can be, and never at the caller's expense."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from trainyard.errors import TransientError
from trainyard_scheduler.use_cases.publish import Hurry

DEADLINE = 10.0


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
