"""The contract of pull sources on the fake and on Postgres."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.sources import PostgresSources
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import ManualClock, SystemClock
from trainyard.contracts.sources import Draft
from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema
from trainyard.testing.contracts import SourcesContract
from trainyard.testing.fakes import MemorySources, MemoryWarehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

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
    def engine(self, database_url: str) -> Iterator[sa.Engine]:
        """An engine on a database of this test's own."""
        engine = make_engine(database_url, service="test")
        yield engine
        engine.dispose()

    @pytest.fixture
    def sources(self, engine: sa.Engine) -> PostgresSources:
        """No source yet."""
        return PostgresSources(engine)

    @pytest.fixture
    def dataset(self, engine: sa.Engine) -> Dataset:
        """A dataset."""
        return PostgresWarehouse(engine, SystemClock()).create("shop", _SCHEMA, actor="k")[0]

    def test_a_deleted_dataset(self, engine: sa.Engine, sources: PostgresSources, dataset: Dataset) -> None:
        """A source of a dataset that was deleted is nobody's work, and none can be made."""
        draft = Draft("url", {"url": "https://example.com/a.csv"}, None, "s", datetime(2020, 1, 1, tzinfo=UTC))
        sources.put(dataset, "a", draft, actor="k1")
        PostgresWarehouse(engine, SystemClock()).delete("shop", actor="k")
        assert sources.claim(lease_seconds=60) is None
        with pytest.raises(ServiceError) as refused:
            sources.put(dataset, "b", draft, actor="k1")
        assert refused.value.code == "unknown_dataset"
