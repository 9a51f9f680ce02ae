"""The scheduler's records: the fake and Postgres behave alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.clock import ManualClock
from trainyard.testing.contracts import SchedulingContract
from trainyard.testing.fakes import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

    from trainyard.contracts.runs import Line


class MemoryWorld:
    """The fake; every step takes a second."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", ())

    def add_rows(self, rows: int) -> int:
        """Commit rows."""
        return self.store.state.add_rows("flights", rows)

    def claim(self, request_id: str, *, lease_seconds: float = 60.0, instance_id: str | None = None) -> None:
        """Let a trainer hold the request."""
        until = self.clock.now() + timedelta(seconds=lease_seconds)
        self.store.state.claim(request_id, lease_until=until, instance_id=instance_id)
        self.clock.advance(1)

    def say(self, run_id: str, lines: Sequence[Line]) -> None:
        """Put them there."""
        self.store.state.run_lines[run_id] = list(lines)

    def finish(
        self,
        request_id: str,
        *,
        sha256: str = "ab" * 32,
        extract_key: str | None = None,
        report: Mapping[str, Any] | None = None,
        waits: bool = False,
    ) -> int:
        """Let the holder publish."""
        return self.store.state.finish(request_id, sha256=sha256, extract_key=extract_key, report=report, waits=waits)

    def rows_went(self, version: int) -> None:
        """Mark it."""
        self.store.state.rows_went(version)

    def drop_dataset(self) -> None:
        """Forget it."""
        self.store.state.datasets.clear()

    def label(self, model: str, prediction_id: str) -> None:
        """Commit a label."""
        self.store.state.add_label(model, prediction_id)

    def end(self, request_id: str, state: str) -> None:
        """Let the request end."""
        self.clock.advance(1)
        self.store.state.end(request_id, state, "no")
        self.clock.advance(1)


@dataclass
class PostgresWorld:
    """Postgres."""

    store: PostgresStore
    warehouse: Warehouse

    def add_rows(self, rows: int) -> int:
        """Commit rows."""
        return self.warehouse.add(rows, announce=False)

    def claim(self, request_id: str, *, lease_seconds: float = 60.0, instance_id: str | None = None) -> None:
        """Let a trainer hold the request."""
        self.warehouse.claim(request_id, lease_seconds=lease_seconds, instance_id=instance_id)

    def say(self, run_id: str, lines: Sequence[Line]) -> None:
        """Keep them."""
        self.warehouse.say(run_id, lines)

    def finish(
        self,
        request_id: str,
        *,
        sha256: str = "ab" * 32,
        extract_key: str | None = None,
        report: Mapping[str, Any] | None = None,
        waits: bool = False,
    ) -> int:
        """Let the holder publish."""
        return self.warehouse.finish(request_id, sha256=sha256, extract_key=extract_key, report=report, waits=waits)

    def rows_went(self, version: int) -> None:
        """Mark it."""
        self.warehouse.rows_went(version)

    def drop_dataset(self) -> None:
        """Mark it deleted."""
        self.warehouse.drop()

    def label(self, model: str, prediction_id: str) -> None:
        """Commit a label."""
        self.warehouse.label(model, prediction_id)

    def end(self, request_id: str, state: str) -> None:
        """Let the request end."""
        self.warehouse.end(request_id, state)


class TestMemory(SchedulingContract):
    """The fake."""

    @pytest.fixture
    def world(self) -> MemoryWorld:
        """An empty one."""
        return MemoryWorld()


class TestPostgres(SchedulingContract):
    """The adapter."""

    @pytest.fixture
    def world(self, engine: sa.Engine) -> PostgresWorld:
        """An empty database."""
        return PostgresWorld(PostgresStore(engine), Warehouse(engine))
