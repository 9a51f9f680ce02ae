"""Loops: slowed by outages, ended by faults, by the stop and by signals."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from trainyard.errors import TransientError
from trainyard.loops import Loop, backoff_seconds, on_stop_signals, patiently, run_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 10.0


class Steps:
    """Raises what it is given, one after the other; then sets the stop."""

    def __init__(self, stop: threading.Event, *errors: Exception | None) -> None:
        self.calls = 0
        self._stop = stop
        self._errors = list(errors)

    def __call__(self) -> None:
        self.calls += 1
        if not self._errors:
            self._stop.set()
        elif (error := self._errors.pop(0)) is not None:
            raise error


@pytest.fixture
def signals() -> Iterator[None]:
    """Put the handlers back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_loop_survives_outages() -> None:
    """A loop goes on after outages, without waiting for its period, and says once that it works again."""
    stop, told = threading.Event(), threading.Event()
    steps = Steps(stop, TransientError("a"), TransientError("b"), None)
    loop = Loop("x", steps, stop=stop, period=3600.0, recovered=told.set)
    thread = threading.Thread(target=loop.run)
    thread.start()
    assert told.wait(DEADLINE)
    loop.wake()
    assert stop.wait(DEADLINE)
    loop.wake()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert steps.calls == 4


def test_a_stop_during_a_step_is_not_slept_through() -> None:
    """A loop that was woken for the stop before its step began ends with that step, however long its period."""
    stop = threading.Event()

    def step() -> None:
        stop.set()  # the wake came before, and was cleared at the beginning of this round

    loop = Loop("late", step, stop=stop, period=3_600)
    loop.wake()
    thread = threading.Thread(target=loop.run)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_fault_ends_a_loop() -> None:
    """Anything but an outage is raised."""
    with pytest.raises(ValueError, match="a fault"):
        Loop("x", Steps(threading.Event(), ValueError("a fault")), stop=threading.Event()).run()


def test_fault_in_one_thread_stops_the_others() -> None:
    """The faulty one is named; what must happen at the stop happens before anybody is waited for."""
    stop, told = threading.Event(), threading.Event()

    def fault() -> None:
        raise ValueError("a fault")

    work = {"good": lambda: told.wait(DEADLINE) or pytest.fail("never told"), "bad": fault}
    assert run_threads(work, stop, stopping=told.set) == ["bad"]
    assert stop.is_set()


def test_a_thread_that_does_not_come_back_is_left() -> None:
    """With a limit the end does not wait for a thread that is stuck."""
    stop, free = threading.Event(), threading.Event()
    stop.set()
    assert run_threads({"stuck": lambda: free.wait(DEADLINE) and None}, stop, join_seconds=0.01) == []
    assert not free.is_set()
    free.set()


def test_backoff() -> None:
    """Waits grow, are never 0 and never longer than 2 s."""
    assert all(0.1 <= backoff_seconds(1) <= 0.2 for _ in range(50))
    assert all(1.0 <= backoff_seconds(n) <= 2.0 for n in range(5, 2_000))


def test_patience() -> None:
    """A start waits for what is away, and gives up at the stop."""
    stop = threading.Event()
    steps = Steps(stop, TransientError("away"), TransientError("away"), None)
    patiently(steps, "it", stop)
    assert steps.calls == 3

    def fail_and_stop() -> None:
        stop.set()
        raise TransientError("away")

    patiently(fail_and_stop, "it", stop)


@pytest.mark.usefixtures("signals")
def test_a_signal_that_another_thread_received() -> None:
    """The kernel may give a signal to any thread; the main one, which has to answer it, does not sleep through it."""
    stop = threading.Event()
    on_stop_signals(lambda _name: stop.set())
    seen: list[bool] = []

    def work() -> None:
        stop.wait(0.2)  # until the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        seen.append(stop.wait(DEADLINE))
        stop.set()

    assert run_threads({"work": work}, stop) == []
    assert seen == [True]


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("insist", [True, False])
def test_signals(number: signal.Signals, insist: bool) -> None:
    """Both signals ask for the stop by name; whether the next of the kind kills is the caller's choice."""
    said: list[str] = []
    came = threading.Event()

    def stop(name: str) -> None:
        said.append(name)
        came.set()

    on_stop_signals(stop, insist=insist)
    os.kill(os.getpid(), number)
    assert came.wait(10)
    assert said == [number.name]
    assert (signal.getsignal(number) is signal.SIG_DFL) == insist
