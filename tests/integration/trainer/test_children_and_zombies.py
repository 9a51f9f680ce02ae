"""Trainer processes whose training ends badly, and one that sleeps past its lease: on real Postgres, SQS and S3."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Yard

CHILD = "python -m trainyard.testing.training_child"


def lines(yard: Yard, action: str) -> list[dict[str, Any]]:
    """Return what the trainers have logged about an action."""
    found = (json.loads(line) for line in yard.log().splitlines() if line.startswith("{"))
    return [line for line in found if line["action"] == action]


def test_a_training_that_kills_its_process_fails_after_three(yard: Yard, tmp_path: Path) -> None:
    """K21: out of memory, segmentation fault, crash: every run says its own reason, and the next request is served."""
    yard.add_rows(50)
    bad = yard.request()
    turns = tmp_path / "turns"
    trainer = yard.trainer(
        idle_seconds=30.0, child=f"{CHILD} --end memory,segfault,crash,done --turns {turns}", memory_mb=2_000
    )
    for attempt in (1, 2):
        yard.until_rows(f"SELECT 1 FROM core.run WHERE state = 'failed' AND attempt = {attempt}", 1)
        assert yard.relay() == 1
    yard.until(bad, "failed")
    runs = yard.rows("SELECT state, error_class, error FROM core.run ORDER BY fence")
    assert [(run["state"], run["error_class"]) for run in runs] == [
        ("failed", "oom"),
        ("failed", "crash"),
        ("failed", "crash"),
    ]
    assert "was ended by signal 11" in runs[1]["error"]
    yard.add_rows(1)
    good = yard.request()
    yard.until(good, "done")
    wait_until(lambda: yard.queue.depth().total == 0, "both messages to be gone")
    trainer.terminate()
    assert trainer.wait(20) == 0


def test_a_zombie_publishes_nothing(yard: Yard) -> None:
    """K21: stopped past its lease, overtaken, woken up: nothing of it is published, and it says so."""
    yard.add_rows(50)
    request = yard.request()
    zombie = yard.trainer(idle_seconds=30.0, child=f"{CHILD} --seconds 4 --trials 8")
    yard.until_rows("SELECT 1 FROM core.trial", 2)
    zombie.send_signal(signal.SIGSTOP)
    (stopped,) = yard.rows("SELECT count(*) AS trials FROM core.trial")
    yard.trainer(idle_seconds=30.0, child=f"{CHILD} --seconds 0.1 --trials 8")
    yard.until(request, "done")
    zombie.send_signal(signal.SIGCONT)
    wait_until(lambda: lines(yard, "run.abandoned") != [], "the zombie to notice")
    assert lines(yard, "run.abandoned")[0]["code"] in {"zombie", "lease_lost"}
    states = yard.rows("SELECT state, worker FROM core.run ORDER BY fence")
    assert [row["state"] for row in states] == ["lost", "done"]
    assert len(yard.versions()) == 1
    (study,) = yard.rows(
        "SELECT count(*) AS trials FROM core.trial t JOIN core.run u ON u.id = t.run_id WHERE state = 'done'"
    )
    assert study["trials"] == 8
    assert stopped["trials"] >= 2
    wait_until(
        lambda: yard.rows("SELECT 1 FROM core.worker WHERE state = 'idle'") != [], "a worker to say that it is idle"
    )


def test_stopping_does_not_wait_for_what_hangs(yard: Yard) -> None:
    """SIGTERM while the database hangs: the process is gone within 30 s, and the lease hands the request on."""
    yard.add_rows(50)
    yard.request()
    trainer = yard.trainer(idle_seconds=30.0, child=f"{CHILD} --seconds 60")
    yard.until_rows("SELECT 1 FROM core.run WHERE state = 'running'", 1)
    with yard.engine.connect() as hanging:
        hanging.exec_driver_sql("LOCK TABLE core.training_request, core.worker IN ACCESS EXCLUSIVE MODE")
        trainer.terminate()
        assert trainer.wait(31) in {0, 75}
        hanging.rollback()
    assert yard.rows("SELECT 1 FROM core.training_request WHERE state = 'done'") == []
