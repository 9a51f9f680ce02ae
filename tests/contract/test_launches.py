"""The fleet's ledger and the costs: the fake and Postgres behave alike."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.contract.test_scheduling import MemoryWorld, PostgresWorld
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.testing.contracts import LaunchesContract

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa


class TestMemory(LaunchesContract):
    """The fake."""

    @pytest.fixture
    def world(self) -> MemoryWorld:
        """An empty one."""
        return MemoryWorld()

    @pytest.fixture
    def later(self, world: MemoryWorld) -> Callable[[], None]:
        """Advance the clock."""
        return lambda: world.clock.advance(0.05)


class TestPostgres(LaunchesContract):
    """The adapter."""

    @pytest.fixture
    def world(self, engine: sa.Engine) -> PostgresWorld:
        """An empty database."""
        return PostgresWorld(PostgresStore(engine), Warehouse(engine))

    @pytest.fixture
    def later(self) -> Callable[[], None]:
        """Wait."""

        def wait() -> None:
            threading.Event().wait(0.06)

        return wait
