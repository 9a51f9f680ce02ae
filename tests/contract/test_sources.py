"""The contract of pull sources on the fake and on Postgres."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.postgres.sources import PostgresSources
from trainyard.clock import ManualClock
from trainyard.contracts.sources import Draft
from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema
from trainyard.testing.contracts import SourcesContract
from trainyard.testing.fakes import MemorySources, MemoryWarehouse

if TYPE_CHECKING:
    import sqlalchemy as sa

    from trainyard.adapters.postgres.warehouse import PostgresWarehouse
    from trainyard.contracts.warehouse import Dataset

_SCHEMA = Schema([Column("id", "int")])


class TestMemorySources(SourcesContract):
    """The fake."""

    @pytest.fixture
    def sources(self) -> MemorySources:
        """No source yet."""
        return MemorySources(ManualClock())

    @pytest.fixture
    def dataset(self) -> Dataset:
        """A dataset."""
        return MemoryWarehouse(ManualClock()).create("shop", _SCHEMA, actor="k")[0]


class TestPostgresSources(SourcesContract):
    """The adapter."""

    @pytest.fixture
    def sources(self, engine: sa.Engine) -> PostgresSources:
        """No source yet."""
        return PostgresSources(engine)

    @pytest.fixture
    def dataset(self, warehouse: PostgresWarehouse) -> Dataset:
        """A dataset."""
        return warehouse.create("shop", _SCHEMA, actor="k")[0]

    def test_a_deleted_dataset(self, warehouse: PostgresWarehouse, sources: PostgresSources, dataset: Dataset) -> None:
        """A source of a dataset that was deleted is nobody's work, and none can be made."""
        draft = Draft("url", {"url": "https://example.com/a.csv"}, None, "s", datetime(2020, 1, 1, tzinfo=UTC))
        sources.put(dataset, "a", draft, actor="k1")
        warehouse.delete("shop", actor="k")
        assert sources.claim(lease_seconds=60) is None
        with pytest.raises(ServiceError) as refused:
            sources.put(dataset, "b", draft, actor="k1")
        assert refused.value.code == "unknown_dataset"
