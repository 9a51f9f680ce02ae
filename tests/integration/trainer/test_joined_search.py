"""A search that two trainers share: real processes, the real pipe, and Optuna's tables in Postgres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    import subprocess

    from conftest import Yard

HELD_CHILD = Path(__file__).with_name("held_child.py")
SETTINGS: dict[str, Any] = {"kinds": ["linear"], "search_workers": 2, "budget_seconds": 120.0, "gate": {"min_rows": 50}}
RUNS = "SELECT id::text, worker, state FROM core.run ORDER BY started_at"
SEATS = "SELECT worker FROM core.search_seat WHERE seated_until > clock_timestamp()"
#: Trials that somebody has begun from a seat and not told.
BEGUN = """SELECT t.number + 1 AS number FROM optuna.trials t JOIN optuna.trial_user_attributes a USING (trial_id)
           WHERE t.state = 'RUNNING' AND a.key = 'seat'"""

#: The trial of a leader that is held: it was asked for before any that a helper is at, so it is the first of those
#: without a seat. A helper's newest may be one of them as well, for the moment between its row and its seat.
LED = """SELECT min(t.number) + 1 AS number FROM optuna.trials t WHERE t.state = 'RUNNING' AND NOT EXISTS (
         SELECT FROM optuna.trial_user_attributes a WHERE a.trial_id = t.trial_id AND a.key = 'seat')"""


class Pair:
    """Two idle trainers whose children are held, the leader's and the helper's each by a file."""

    def __init__(self, yard: Yard, directory: Path) -> None:
        self.yard = yard
        self.holds = {role: directory / f"hold-{role}" for role in ("leader", "helper")}
        child = " ".join([f"python {HELD_CHILD}", *(f"{role}={file}" for role, file in self.holds.items())])
        self.trainers: dict[int, subprocess.Popen[bytes]] = {}
        for name in ("a", "b"):
            process = yard.trainer(idle_seconds=60.0, child=child, work_dir=directory / name, lease_seconds=6)
            self.trainers[process.pid] = process
        yard.until_rows("SELECT FROM core.worker WHERE state = 'idle'", 2)

    def hold(self, *roles: str) -> None:
        for role in roles:
            self.holds[role].touch()

    def release(self, role: str) -> None:
        self.holds[role].unlink()

    def told(self) -> dict[int, dict[str, Any]]:
        """Return what the study was told, by number."""
        found = self.yard.rows(
            "SELECT t.number + 1 AS number, a.value_json FROM optuna.trials t"
            " JOIN optuna.trial_user_attributes a USING (trial_id) WHERE a.key = 'told' AND t.state = 'COMPLETE'"
        )
        return {row["number"]: json.loads(row["value_json"]) for row in found}

    def until_helped(self) -> None:
        """Wait until a helper has told a trial."""
        wait_until(lambda: any(trial["helped"] for trial in self.told().values()), "a helper's trial", seconds=60)

    def kill(self, worker: str) -> None:
        """End a trainer as a power cut does."""
        process = self.trainers[int(worker.rpartition(":")[2])]
        process.kill()
        process.wait(10)

    def trials(self, request: str) -> dict[int, str]:
        """Return who has made the trials of the run that has published."""
        found = self.yard.rows(
            "SELECT number, t.worker FROM core.trial t JOIN core.run u ON u.id = t.run_id"
            " WHERE u.request_id = CAST(:id AS uuid) AND u.state = 'done' ORDER BY number",
            id=request,
        )
        return {row["number"]: row["worker"] for row in found}

    def nothing_is_left(self) -> None:
        """Check that study and seats went with the request."""
        assert self.yard.rows("SELECT FROM optuna.studies") == []
        assert self.yard.rows("SELECT FROM core.search_seat") == []


@pytest.fixture
def pair(yard: Yard, tmp_path: Path) -> Pair:
    """Rows, and two trainers that wait for work."""
    yard.add_rows(1_000)
    return Pair(yard, tmp_path)


def test_two_workers_share_a_search(yard: Yard, pair: Pair) -> None:
    """Each makes trials, none twice; one version comes of it, and whoever made a trial is on record."""
    pair.hold("leader")
    request = yard.request(**SETTINGS)
    pair.until_helped()
    pair.release("leader")
    yard.until(request, "done")
    ((run_id, leader, _),) = [tuple(row.values()) for row in yard.rows(RUNS)]
    made = pair.trials(request)
    assert set(made) == set(range(1, len(made) + 1))
    assert set(made.values()) > {leader}
    assert len(set(made.values())) == 2
    assert len(yard.versions()) == 1
    (version,) = yard.rows("SELECT run_id::text FROM core.version")
    assert version["run_id"] == run_id
    wait_until(lambda: "seat.left" in yard.log(), "the helper to have left", seconds=20)
    pair.nothing_is_left()


def test_a_helper_that_is_killed(yard: Yard, pair: Pair) -> None:
    """It costs the trial that it was at, which the leader tries once the seat has run out; what it told counts."""
    pair.hold("leader", "helper")
    request = yard.request(**SETTINGS)
    pair.until_helped()
    yard.until_rows(BEGUN, 1)
    ((left,),) = [tuple(row.values()) for row in yard.rows(BEGUN)]
    (helped,) = [number for number, trial in pair.told().items() if trial["helped"]]
    ((helper,),) = [tuple(row.values()) for row in yard.rows(SEATS)]
    pair.kill(helper)
    wait_until(lambda: yard.rows(SEATS) == [], "the seat to run out", seconds=20)
    pair.release("leader")
    yard.until(request, "done")
    ((_, leader, _),) = [tuple(row.values()) for row in yard.rows(RUNS)]
    made = pair.trials(request)
    assert set(made) == set(range(1, len(made) + 1))
    assert (made[helped], made[left]) == (helper, leader)
    pair.nothing_is_left()


def test_a_leader_that_is_killed(yard: Yard, pair: Pair) -> None:
    """Its helper leaves, takes the request over as anybody may, and goes on with all that was told."""
    pair.hold("leader")
    request = yard.request(**SETTINGS)
    pair.until_helped()
    ((_, leader, _),) = [tuple(row.values()) for row in yard.rows(RUNS)]
    pair.kill(leader)
    told = {number: trial["worker"] for number, trial in pair.told().items()}
    ((left,),) = [tuple(row.values()) for row in yard.rows(LED)]
    yard.execute("UPDATE core.training_request SET lease_until = clock_timestamp() - interval '1 s'")
    yard.send(request)
    yard.until(request, "done")
    lost, done = [tuple(row.values()) for row in yard.rows(RUNS)]
    assert (lost[1:], done[2]) == ((leader, "lost"), "done")
    made = pair.trials(request)
    # the trial that the leader was at is tried by whoever goes on, unless the helper has ended the search meanwhile
    assert set(made) | {left} == set(range(1, max(made) + 1))
    assert len(set(told.values())) == 2
    assert made.items() >= told.items()
    assert len(yard.versions()) == 1
    pair.nothing_is_left()
