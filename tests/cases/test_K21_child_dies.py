"""The training process dies: of memory, of a fault in native code, or because it never ends.

Set-up: a child under RLIMIT_AS that asks for more, one that reads where nothing is, one that sleeps for ever; beside it
a healthy request. Seen: the worker lives; after three attempts the request has failed, with the reason stored for each
run, and its message is gone; the healthy request is done in its first attempt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cases.yard import MODEL

from trainyard.clock import SystemClock
from trainyard_trainer.edges import ChildProcesses, child_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cases.yard import Yard

    from trainyard_trainer.edges import ChildProcess

CHILD = Path(__file__).with_name("dying_child.py")
#: Far beyond every deadline of a run with a small budget.
LONG_SECONDS = 1_000.0


class Patience(SystemClock):
    """A clock that can be set forward, so that nobody has to wait for a deadline."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Children(ChildProcesses):
    """Real processes; ``on_take`` is called when a run has got its own."""

    on_take: Callable[[], None]

    def take(self) -> ChildProcess:
        child = super().take()
        self.on_take()
        return child


@pytest.mark.parametrize("reason", ["oom", "crash", "timeout"])
def test_three_attempts(yard: Yard, reason: str) -> None:
    """The reason stands at each run and at the request; nothing of it is left on the queue."""
    yard.make_model("healthy")
    dying = yard.request()
    healthy = yard.request("healthy")
    clock = Patience()
    home = yard.directory / "child"
    children = Children(home, child_environment(home, {}), (sys.executable, str(CHILD), reason, MODEL))

    def let_time_pass() -> None:
        if reason == "timeout" and yard.row(dying)["state"] == "running":
            clock.ahead += LONG_SECONDS

    children.on_take = let_time_pass
    yard.work_off(yard.trainer(children=children, clock=clock), seconds=60)
    children.close()
    assert [(run["state"], run["error_class"]) for run in yard.runs(dying)] == [("failed", reason)] * 3
    row = yard.row(dying)
    assert (row["state"], row["error_class"], row["attempt"]) == ("failed", reason, 3)
    assert row["error"]
    assert (yard.row(healthy)["state"], yard.row(healthy)["attempt"]) == ("done", 1)
    assert yard.queue.depth().total == 0
