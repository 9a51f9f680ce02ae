"""What the adapters' side of several contracts starts from; a fake's class has fixtures of its own by these names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock

if TYPE_CHECKING:
    import sqlalchemy as sa


@pytest.fixture
def warehouse(engine: sa.Engine) -> PostgresWarehouse:
    """An empty warehouse in a database of this test's own."""
    return PostgresWarehouse(engine, SystemClock())
