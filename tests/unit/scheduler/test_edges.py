"""The program around the loops: they are woken, and ended by a fault and by the stop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainyard.errors import TransientError
from trainyard.loops import Loop
from trainyard_scheduler.edges import Program

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 10.0


class FakeEars:
    """Hears what the test says; ``broken`` makes the next wait fail."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.news = threading.Event()
        self.broken = False
        self.connects = 0
        self.closed = False

    def connect(self) -> None:
        """Count."""
        self.connects += 1

    def wait(self, seconds: float) -> list[str]:
        """Return what was said."""
        self.news.wait(min(seconds, 0.05))
        self.news.clear()
        if self.broken:
            self.broken = False
            raise TransientError("broken")
        heard, self.said = self.said, []
        return heard

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def say(self, kind: str) -> None:
        """Let the next wait hear."""
        self.said.append(kind)
        self.news.set()


class Counter:
    """Counts its calls; ``reached(n)`` waits until the n-th."""

    def __init__(self, fails: Callable[[int], Exception | None] = lambda _: None) -> None:
        self.calls = 0
        self._fails = fails
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.calls += 1
            self._changed.notify_all()
        error = self._fails(self.calls)
        if error is not None:
            raise error

    def reached(self, calls: int) -> bool:
        """Wait."""
        with self._changed:
            return self._changed.wait_for(lambda: self.calls >= calls, DEADLINE)


def started(loops: list[Loop], ears: FakeEars, stop: threading.Event) -> tuple[threading.Thread, list[str]]:
    """Run a program in a thread; return it and where its faults will be."""
    faults: list[str] = []
    thread = threading.Thread(target=lambda: faults.extend(Program(loops, ears, stop).run()))
    thread.start()
    return thread, faults


def test_woken_loop_runs_at_once() -> None:
    """A loop with a long period runs when its event is heard, at the start of listening, and after a broken ear."""
    stop, ears, step = threading.Event(), FakeEars(), Counter()
    thread, faults = started([Loop("relay", step, period=3600.0, stop=stop)], ears, stop)
    assert step.reached(1)
    before = step.calls
    while not step.calls > before:
        ears.say("outbox")
        step.reached(before + 1)
    before = step.calls
    ears.broken = True
    assert step.reached(before + 1)
    stop.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert (faults, ears.closed, ears.connects >= 2) == ([], True, True)


def test_fault_ends_the_program() -> None:
    """A fault in one loop is named and ends the others."""
    stop, ears = threading.Event(), FakeEars()
    loops = [
        Loop("good", Counter(), period=3600.0, stop=stop),
        Loop("bad", Counter(lambda _: ValueError("a fault")), period=1.0, stop=stop),
    ]
    thread, faults = started(loops, ears, stop)
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert faults == ["bad"]
