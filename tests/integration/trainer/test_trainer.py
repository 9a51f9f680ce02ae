"""The trainer as a process: from a message on SQS to a version, through graceful stops and kill -9."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trainyard.model import Predictor, decode
from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from conftest import Yard

KILLED = -signal.SIGKILL
CHILD = "python -m trainyard.testing.training_child"


def test_from_request_to_champion_and_challenger(yard: Yard) -> None:
    """A first version is promoted; one that is no better is refused by its numbers; then the trainer ends itself."""
    yard.add_rows(1_500)
    first = yard.request(kinds=["linear", "tree_ensemble"], gate={"min_rows": 100})
    trainer = yard.trainer(idle_seconds=6.0)
    yard.until(first, "done")
    yard.add_rows(20, seed=1, shuffled=True)
    second = yard.request(gate={"min_rows": 100})
    yard.until(second, "done")
    good, equal = yard.versions()
    assert good["passed"], good["gate"]["summary"]
    assert good["gate"]["promoted"]
    assert good["metrics"]["roc_auc"] > 0.9
    assert good["holdout"]["rule"] == "hash"
    assert not equal["passed"]
    assert "beats_champion" in [c["name"] for c in equal["gate"]["checks"] if not c["passed"]]
    aliases = yard.rows("SELECT name, version FROM core.alias")
    assert aliases == [{"name": "champion", "version": 1}]
    model = decode(yard.blobs.get(good["artifact_key"]).data)
    old, young = Predictor(model).predict([{"age": 79, "city": "C"}, {"age": 18, "city": "A"}])
    assert (old.prediction, young.prediction) == (True, False)
    assert len(yard.rows("SELECT 1 FROM core.trial")) >= 4
    assert trainer.wait(30) == 0
    assert yard.queue.depth().total == 0


def test_sigterm_hands_the_request_back(yard: Yard) -> None:
    """SIGTERM in the middle of a training: the attempt does not count, a new message waits, exit code 0 in seconds."""
    yard.add_rows(500)
    request = yard.request()
    trainer = yard.trainer(child=f"{CHILD} --seconds 60 --trials 60")
    wait_until(lambda: yard.rows("SELECT 1 FROM core.trial") != [], "a finished trial of a training")
    child = _children(trainer.pid)
    assert child
    trainer.terminate()
    assert trainer.wait(10) == 0
    (row,) = yard.rows("SELECT state, attempt, lease_until FROM core.training_request")
    assert row == {"state": "queued", "attempt": 0, "lease_until": None}
    assert yard.rows("SELECT state FROM core.run") == [{"state": "released"}]
    assert not any(Path(f"/proc/{pid}").exists() for pid in child)
    wait_until(lambda: yard.queue.depth().total == 0, "the old message to be gone")
    assert yard.relay() == 1
    yard.trainer(child=CHILD)
    yard.until(request, "done")
    assert len(yard.versions()) == 1


@pytest.mark.parametrize("point", ["K19", "K25", "K26", "K28"])
def test_kill_9_loses_and_doubles_nothing(yard: Yard, point: str) -> None:
    """Whatever step the trainer dies at, the next one finishes the request with exactly one version."""
    yard.add_rows(1_000)
    request = yard.request(gate={"min_rows": 50})
    assert yard.trainer(chaos=f"{point}:kill9").wait(30) == KILLED
    second = yard.trainer(idle_seconds=2.0)
    yard.until(request, "done")
    assert len(yard.versions()) == 1
    assert second.wait(30) == 0
    assert yard.queue.depth().total == 0
    assert len(list(yard.blobs.list("models/"))) == 1
    (run,) = yard.rows("SELECT fence FROM core.run WHERE state = 'done'")
    assert run["fence"] == yard.versions()[0]["fence"]
    assert yard.rows("SELECT name, version, seq FROM core.alias") == [{"name": "champion", "version": 1, "seq": 1}]


def test_data_that_allow_no_model(yard: Yard) -> None:
    """A label with one value fails the request at once, with words for the owner of the data."""
    yard.add_rows(300)
    yard.execute(f"UPDATE data_.t_{yard.dataset} SET c4 = true")
    request = yard.request()
    assert yard.trainer().wait(40) == 0
    (row,) = yard.rows("SELECT state, attempt, error_class, error FROM core.training_request")
    assert (row["state"], row["attempt"], row["error_class"]) == ("failed", 1, "data")
    assert "1 distinct value" in row["error"]
    assert yard.state(request) == "failed"


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.exists():  # not Linux
        return [os.getpid()]
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
