"""Chunks read ahead of the database: quick senders stream, slow ones are spooled, nothing is lost on the way."""

import threading

import pytest

from trainyard.clock import ManualClock, SystemClock
from trainyard.errors import ServiceError
from trainyard.testing.processes import wait_until
from trainyard_ingest.use_cases import pace
from trainyard_ingest.use_cases.pace import Ahead


def _numbered(count, size=1 << 20):
    return [bytes([n % 251]) * size for n in range(count)]


def test_small_bodies_are_whole_before_anything_else():
    """What fits is read to its end before the database is asked for anything."""
    with Ahead(iter([b"a", b"b"]), SystemClock()) as chunks:
        assert chunks.settle()
        assert list(chunks) == [b"a", b"b"]


def test_quick_bodies_stream():
    """A large body that comes quickly is handed on before its end, in order, with little of it in memory."""
    taken = 0
    most = 0

    def source():
        nonlocal most
        for given, chunk in enumerate(_numbered(64), start=1):
            most = max(most, given - taken)
            yield chunk

    with Ahead(source(), SystemClock()) as chunks:
        assert not chunks.settle()
        came = []
        for chunk in chunks:
            came.append(chunk)
            taken += 1
    assert came == _numbered(64)
    assert most * (1 << 20) <= pace.AHEAD_BYTES + (2 << 20)


def test_slow_bodies_are_spooled(tmp_path):
    """A body that comes slowly is read to its end first, whatever its size, and comes out as it went in."""
    judged = threading.Event()

    class Hurrying(ManualClock):
        """Every look at it takes long."""

        def monotonic(self):
            if super().monotonic() > pace.SLOW_SECONDS:
                judged.set()
            self.advance(pace.SLOW_SECONDS + 1)
            return super().monotonic()

    def source():
        yield b"first"
        assert judged.wait(10)
        yield from _numbered(20)

    with Ahead(source(), Hurrying(), tmp_path) as chunks:
        assert chunks.settle()
        assert list(chunks) == [b"first", *_numbered(20)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [0, 1, 30])
def test_what_reading_raises_comes_out(before):
    """A body that turns out to be bad is refused with its own error, early or late."""
    mine = ServiceError("bad_csv", "line 7")

    def source():
        yield from _numbered(before)
        raise mine

    def take():
        with Ahead(source(), SystemClock()) as chunks:
            chunks.settle()
            list(chunks)

    with pytest.raises(ServiceError) as raised:
        take()
    assert raised.value is mine


def test_a_sender_who_stalls_is_refused(monkeypatch):
    """A sender who was quick and then pauses gives the dataset back: the body is refused, not waited for."""
    monkeypatch.setattr(pace, "STALL_SECONDS", 0.05)
    released = threading.Event()

    def source():
        yield from _numbered(9)
        released.wait(10)

    def take():
        with Ahead(source(), SystemClock()) as chunks:
            assert not chunks.settle()
            list(chunks)

    with pytest.raises(ServiceError) as refused:
        take()
    released.set()
    assert refused.value.code == "request_timeout"


def test_the_thread_ends_with_its_context():
    """Whoever leaves early takes the thread along."""

    def source():
        while True:
            yield bytes(1 << 20)

    with Ahead(source(), SystemClock()) as chunks:
        assert not chunks.settle()
    wait_until(lambda: all(thread.name != "rows" for thread in threading.enumerate()), "the thread's end")
