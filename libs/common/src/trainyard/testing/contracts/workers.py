"""What every attendance list does. The class needs the fixtures ``attendance``, ``store`` and ``later``.

``later()`` lets at least 50 ms pass by the clock of the store.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.scheduling import Records, Store
    from trainyard.contracts.workers import Attendance, WorkerRecord

_LATELY = 3_600.0


def _all(store: Store, seen_within_seconds: float = _LATELY) -> list[WorkerRecord]:
    with store.begin() as records:
        return records.workers.all(seen_within_seconds)


class WorkersContract:
    """Coming, working, going, and being forgotten."""

    def test_nobody(self, store: Store) -> None:
        """Nobody is seen where nobody was."""
        assert _all(store) == []

    def test_last_word_counts(self, attendance: Attendance, store: Store, later: Callable[[], None]) -> None:
        """A worker has one row, which holds its last word and keeps its first moment."""
        request = str(uuid.uuid4())
        attendance.seen("host:1", "i-1", "c7i.large", "idle", None)
        (first,) = _all(store)
        assert (first.id, first.instance_id, first.instance_type) == ("host:1", "i-1", "c7i.large")
        assert (first.state, first.request_id) == ("idle", None)
        later()
        attendance.seen("host:1", "i-1", "c7i.large", "busy", request)
        (second,) = _all(store)
        assert (second.state, second.request_id) == ("busy", request)
        assert second.started_at == first.started_at
        assert second.seen_at > first.seen_at
        assert 0.0 <= second.silent < second.up

    def test_worker_without_an_instance(self, attendance: Attendance, store: Store) -> None:
        """A trainer on somebody's own machine has no instance."""
        attendance.seen("host:1", None, None, "idle", None)
        (seen,) = _all(store)
        assert (seen.instance_id, seen.instance_type) == (None, None)

    def test_ended(self, attendance: Attendance, store: Store) -> None:
        """Who ends works on nothing; the end of somebody unknown is no error."""
        attendance.seen("host:1", "i-1", "c7i.large", "busy", str(uuid.uuid4()))
        attendance.ended("host:1")
        attendance.ended("host:2")
        (seen,) = _all(store)
        assert (seen.state, seen.request_id) == ("ended", None)

    def test_name_used_again(self, attendance: Attendance, store: Store, later: Callable[[], None]) -> None:
        """A process id that comes again, after an end or on another instance, is a new worker."""
        attendance.seen("host:1", "i-1", "c7i.large", "idle", None)
        attendance.ended("host:1")
        (before,) = _all(store)
        later()
        attendance.seen("host:1", "i-1", "c7i.large", "idle", None)
        (second,) = _all(store)
        assert second.started_at > before.started_at
        later()
        attendance.seen("host:1", "i-2", "c7i.large", "idle", None)
        (third,) = _all(store)
        assert third.started_at > second.started_at

    def test_silence(self, attendance: Attendance, store: Store, later: Callable[[], None]) -> None:
        """Who has been silent for longer than asked is left out, and forgotten when that is wanted."""
        attendance.seen("host:1", "i-1", "c7i.large", "idle", None)
        later()
        assert _all(store, 0.01) == []
        attendance.seen("host:2", "i-2", "c7i.large", "idle", None)
        assert [worker.id for worker in _all(store)] == ["host:1", "host:2"]
        with store.begin() as records:
            assert _forget(records, _LATELY) == 0
        later()
        attendance.seen("host:2", "i-2", "c7i.large", "idle", None)
        with store.begin() as records:
            assert _forget(records, 0.04) == 1
        assert [worker.id for worker in _all(store)] == ["host:2"]


def _forget(records: Records, silent_for_seconds: float) -> int:
    return records.upkeep.forget("workers", older_than_seconds=silent_for_seconds, keep_newest=0, limit=9)
