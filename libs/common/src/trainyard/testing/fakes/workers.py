"""Workers in memory: the trainer's side over a scheduler's store, and the scheduler's side inside its transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from trainyard.contracts.workers import WORKER_STATES, Attendance, WorkerRecord, Workers
from trainyard.testing.fakes.scheduling_rows import WorkerRow

if TYPE_CHECKING:
    from trainyard.testing.fakes.scheduling import MemoryStore
    from trainyard.testing.fakes.scheduling_state import State


class MemoryWorkers(Workers):
    """The workers' room."""

    def __init__(self, state: State) -> None:
        self._state = state

    def all(self, seen_within_seconds: float) -> list[WorkerRecord]:
        """Return those that were seen lately."""
        since = self._state.clock.now() - timedelta(seconds=seen_within_seconds)
        found = [self._record(row) for row in self._state.workers.values() if row.seen_at >= since]
        return sorted(found, key=lambda record: (record.started_at, record.id))

    def _record(self, row: WorkerRow) -> WorkerRecord:
        now = self._state.clock.now()
        return WorkerRecord(
            id=row.id,
            instance_id=row.instance_id,
            instance_type=row.instance_type,
            state=row.state,
            request_id=row.request_id,
            started_at=row.started_at,
            seen_at=row.seen_at,
            up=(now - row.started_at).total_seconds(),
            silent=(now - row.seen_at).total_seconds(),
        )


class MemoryAttendance(Attendance):
    """The trainer's side, written into ``store``; the store's outage is this one's too."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def seen(
        self, worker: str, instance_id: str | None, instance_type: str | None, state: str, request_id: str | None
    ) -> None:
        """Insert or renew the row."""
        if state not in WORKER_STATES:
            raise ValueError(f"{state!r} is no state of a worker")
        with self._store.changing() as tables:
            now, known = tables.clock.now(), tables.workers.get(worker)
            lives_on = known is not None and known.state != "ended" and known.instance_id == instance_id
            since = known.started_at if known is not None and lives_on else now
            tables.workers[worker] = WorkerRow(worker, instance_id, instance_type, state, request_id, since, now)

    def ended(self, worker: str) -> None:
        """Note the end."""
        with self._store.changing() as tables:
            row = tables.workers.get(worker)
            if row is not None:
                row.state, row.request_id, row.seen_at = "ended", None, tables.clock.now()
