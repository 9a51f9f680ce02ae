"""The trainer's surroundings: its own end in time, and its row among the workers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import ManualClock, SystemClock
from trainyard.errors import TransientError
from trainyard.testing.fakes import MemoryAttendance, MemoryStore
from trainyard.testing.processes import wait_until
from trainyard_trainer.domain import EXIT_OVERDUE
from trainyard_trainer.edges import ExitDeadline, WorkerPresence
from trainyard_trainer.ports import Stop, TrainerSettings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_trainer_that_hangs_is_ended() -> None:
    """Asked to stop, and not gone in time: the process ends with a code of its own, whatever its threads wait for."""
    stop, ended = Stop(), threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    deadline = ExitDeadline(stop, SystemClock(), seconds=0.1, end=end)
    deadline.start()
    assert not ended.wait(1.2)
    stop.request("SIGTERM")
    assert ended.wait(10)
    assert codes == [EXIT_OVERDUE]
    deadline.close()


def test_a_trainer_that_ends_by_itself_is_left_alone() -> None:
    """Nothing is ended before its time, nor after the trainer has gone."""
    stop = Stop()
    codes: list[int] = []
    deadline = ExitDeadline(stop, ManualClock(), seconds=28.0, end=codes.append)
    deadline.start()
    stop.request("SIGTERM")
    SystemClock().sleep(1.2)
    deadline.close()
    assert codes == []
    assert not deadline._thread.is_alive()


@pytest.fixture
def settings(tmp_path: Path) -> TrainerSettings:
    """Somebody on an instance."""
    return TrainerSettings("host:7", "i-7", "c7i.large", tmp_path, 60, 20.0, idle_seconds=60.0)


def test_a_worker_says_what_it_does(settings: TrainerSettings) -> None:
    """Idle, busy with a request, idle, stopping, ended: each word is written at once."""
    store, stop = MemoryStore(SystemClock()), Stop()
    request_id = "00000000-0000-4000-8000-000000000001"

    def told(state: str, request: str | None) -> None:
        def is_so() -> bool:
            row = store.state.workers.get("host:7")
            return row is not None and (row.state, row.request_id) == (state, request)

        wait_until(is_so, f"the worker to be {state}", seconds=10)

    with WorkerPresence(MemoryAttendance(store), settings, stop) as presence:
        told("idle", None)
        presence.busy(request_id)
        told("busy", request_id)
        presence.idle()
        told("idle", None)
        stop.request("SIGTERM")
        presence.idle()
        told("stopping", None)
    row = store.state.workers["host:7"]
    assert (row.state, row.instance_id, row.instance_type) == ("ended", "i-7", "c7i.large")


def test_a_database_that_is_away_costs_freshness_only(
    settings: TrainerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it begins, and the row is there as soon as the database is."""
    store = MemoryStore(SystemClock())
    store.outage = TransientError("away")
    with WorkerPresence(MemoryAttendance(store), settings, Stop()) as presence:
        presence.idle()
        wait_until(lambda: bool(caplog.records), "the line", seconds=10)
        presence.idle()
        store.outage = None
        presence.idle()
        wait_until(lambda: "host:7" in store.state.workers, "the row", seconds=10)
    assert [record.getMessage() for record in caplog.records] == ["presence.not_written"]
