"""The workers' attendance list: the fake and Postgres behave alike."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.workers import PostgresAttendance
from trainyard.clock import ManualClock
from trainyard.errors import TransientError
from trainyard.testing.contracts import WorkersContract
from trainyard.testing.fakes import MemoryAttendance, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa


class TestMemory(WorkersContract):
    """The fake."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """A clock that stands still."""
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> MemoryStore:
        """An empty store."""
        return MemoryStore(clock)

    @pytest.fixture
    def attendance(self, store: MemoryStore) -> MemoryAttendance:
        """The trainer's side of it."""
        return MemoryAttendance(store)

    @pytest.fixture
    def later(self, clock: ManualClock) -> Callable[[], None]:
        """Advance the clock."""
        return lambda: clock.advance(0.05)

    def test_state_that_is_none(self, attendance: MemoryAttendance) -> None:
        """What the table's constraint refuses, the fake refuses."""
        with pytest.raises(ValueError, match="asleep"):
            attendance.seen("host:1", None, None, "asleep", None)

    def test_outage(self, store: MemoryStore, attendance: MemoryAttendance) -> None:
        """An outage of the store is the attendance list's too."""
        store.outage = TransientError("away")
        with pytest.raises(TransientError):
            attendance.seen("host:1", None, None, "idle", None)


class TestPostgres(WorkersContract):
    """The adapter."""

    @pytest.fixture
    def store(self, engine: sa.Engine) -> PostgresStore:
        """The scheduler's side."""
        return PostgresStore(engine)

    @pytest.fixture
    def attendance(self, engine: sa.Engine) -> PostgresAttendance:
        """The trainer's side."""
        return PostgresAttendance(engine)

    @pytest.fixture
    def later(self) -> Callable[[], None]:
        """Wait."""

        def wait() -> None:
            threading.Event().wait(0.06)

        return wait
