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
from tests.cases.yard import MODEL, UNHURRIED

from trainyard_trainer import domain
from trainyard_trainer.children import ChildProcesses, child_environment

if TYPE_CHECKING:
    from tests.cases.yard import Yard


CHILD = Path(__file__).with_name("dying_child.py")
#: Of a run of the dying model; the healthy one has more time than it needs, even on a slow machine.
BUDGET_SECONDS = 1.0


@pytest.mark.parametrize("reason", ["oom", "crash", "timeout"])
def test_three_attempts(yard: Yard, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    """The reason stands at each run and at the request; nothing of it is left on the queue."""
    monkeypatch.setattr(domain, "GRACE_SECONDS", 0.0)  # so that nobody has to wait a minute for a child that hangs
    yard.make_model("healthy", budget_seconds=20.0)
    yard.make_model(budget_seconds=BUDGET_SECONDS if reason == "timeout" else 20.0)
    dying = yard.request()
    healthy = yard.request("healthy")
    home = yard.directory / "child"
    children = ChildProcesses(home, child_environment(home, {}), (sys.executable, str(CHILD), reason, MODEL))
    yard.work_off(yard.trainer(children=children, lease_seconds=UNHURRIED), seconds=60)
    children.close()
    assert [(run["state"], run["error_class"]) for run in yard.runs(dying)] == [("failed", reason)] * 3
    row = yard.row(dying)
    assert (row["state"], row["error_class"], row["attempt"]) == ("failed", reason, 3)
    assert row["error"]
    assert (yard.row(healthy)["state"], yard.row(healthy)["attempt"]) == ("done", 1)
    assert yard.queue.depth().total == 0
