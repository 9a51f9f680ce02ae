"""The warehouse contract on the fake and on Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from trainyard.clock import ManualClock
from trainyard.testing.contracts import WarehouseContract
from trainyard.testing.fakes import MemoryWarehouse

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.adapters.postgres.warehouse import PostgresWarehouse


class TestMemoryWarehouse(WarehouseContract):
    """The fake."""

    @pytest.fixture
    def warehouse(self) -> MemoryWarehouse:
        """An empty warehouse."""
        return MemoryWarehouse(ManualClock())

    @pytest.fixture
    def stored_rows(self, warehouse: MemoryWarehouse) -> Callable[[str], list[dict[str, Any]]]:
        """Rows as the fake keeps them."""
        return lambda name: list(warehouse.rows[name])

    @pytest.fixture
    def add_model(self, warehouse: MemoryWarehouse) -> Callable[[str, str], None]:
        """Models as the fake knows them."""
        return warehouse.models.__setitem__


class TestPostgresWarehouse(WarehouseContract):
    """The adapter."""

    @pytest.fixture
    def stored_rows(self, engine: sa.Engine, warehouse: PostgresWarehouse) -> Callable[[str], list[dict[str, Any]]]:
        """Rows of the dataset's own table, by number."""

        def read(name: str) -> list[dict[str, Any]]:
            dataset = warehouse.dataset(name)
            columns = ", ".join(dataset.physical)
            query = f"SELECT {columns} FROM data_.t_{dataset.id} ORDER BY ingest_seq"
            with engine.connect() as connection:
                return [dict(zip(dataset.schema.names, row, strict=True)) for row in connection.execute(sa.text(query))]

        return read

    @pytest.fixture
    def add_model(self, engine: sa.Engine) -> Callable[[str, str], None]:
        """A model's record, as the scheduler writes it."""
        statement = (
            "INSERT INTO core.model (name, dataset_id, label, task, policy)"
            " SELECT :model, id, 'x', 'auto', '{}' FROM core.dataset WHERE name = :dataset AND deleted_at IS NULL"
        )

        def add(model: str, dataset: str) -> None:
            with engine.begin() as connection:
                connection.execute(sa.text(statement), {"model": model, "dataset": dataset})

        return add
