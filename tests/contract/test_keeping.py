"""The contract of keeping datasets, on the fake and on Postgres."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.keeping import PostgresKeeping
from trainyard.clock import ManualClock
from trainyard.testing.contracts import KeepingContract
from trainyard.testing.fakes import MemoryKeeping, MemoryWarehouse

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.adapters.postgres.warehouse import PostgresWarehouse


class TestMemoryKeeping(KeepingContract):
    """The fake."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The fake's time."""
        return ManualClock()

    @pytest.fixture
    def warehouse(self, clock: ManualClock) -> MemoryWarehouse:
        """An empty warehouse."""
        return MemoryWarehouse(clock)

    @pytest.fixture
    def keeping(self, warehouse: MemoryWarehouse, clock: ManualClock) -> MemoryKeeping:
        """What keeps it."""
        return MemoryKeeping(warehouse, clock)

    @pytest.fixture
    def stored_rows(self, warehouse: MemoryWarehouse) -> Callable[[str], dict[int, dict[str, Any]]]:
        """Rows as the fake keeps them."""
        return lambda name: {seq: dict(row) for seq, row in enumerate(warehouse.rows[name], start=1) if row}

    @pytest.fixture
    def add_version(self, keeping: MemoryKeeping) -> Callable[[str, str, int], None]:
        """Versions as the fake knows them."""
        return lambda model, dataset, upto: keeping.versions.append((model, 1, dataset, upto))

    @pytest.fixture
    def outlive(self, clock: ManualClock) -> Callable[[str, float], None]:
        """Time passes."""
        return lambda _name, days: clock.sleep(days * 86_400)


class TestPostgresKeeping(KeepingContract):
    """The adapter."""

    @pytest.fixture
    def keeping(self, engine: sa.Engine) -> PostgresKeeping:
        """What keeps it."""
        return PostgresKeeping(engine)

    @pytest.fixture
    def stored_rows(
        self, engine: sa.Engine, warehouse: PostgresWarehouse
    ) -> Callable[[str], dict[int, dict[str, Any]]]:
        """Rows of the dataset's own table."""

        def read(name: str) -> dict[int, dict[str, Any]]:
            dataset = warehouse.dataset(name)
            columns = ", ".join(("ingest_seq", *dataset.physical))
            query = f"SELECT {columns} FROM data_.t_{dataset.id} ORDER BY ingest_seq"
            with engine.connect() as connection:
                rows = connection.execute(sa.text(query)).all()
            return {seq: dict(zip(dataset.schema.names, cells, strict=True)) for seq, *cells in rows}

        return read

    @pytest.fixture
    def add_version(self, engine: sa.Engine) -> Callable[[str, str, int], None]:
        """A model with a version, as scheduler and trainer write them."""

        def add(model: str, dataset: str, upto: int) -> None:
            ids = {"request": uuid.uuid4(), "run": uuid.uuid4(), "model": model, "dataset": dataset, "upto": upto}
            with engine.begin() as connection:
                for statement in _VERSION:
                    connection.execute(sa.text(statement), ids)

        return add

    @pytest.fixture
    def outlive(self, engine: sa.Engine) -> Callable[[str, float], None]:
        """Batches become older."""

        def age(name: str, days: float) -> None:
            statement = (
                "UPDATE core.batch SET created_at = created_at - make_interval(secs => 86400 * :days)"
                " WHERE dataset_id = (SELECT id FROM core.dataset WHERE name = :name AND deleted_at IS NULL)"
            )
            with engine.begin() as connection:
                connection.execute(sa.text(statement), {"name": name, "days": days})

        return age


_VERSION = (
    """
    INSERT INTO core.model (name, dataset_id, label, task, policy)
    SELECT :model, id, 'x', 'auto', '{}' FROM core.dataset WHERE name = :dataset AND deleted_at IS NULL""",
    """
    INSERT INTO core.training_request (id, model_id, reason, upto_seq, new_rows, settings, requested_by, state)
    SELECT :request, id, 'by_hand', :upto, 1, '{}', 'test', 'done' FROM core.model WHERE name = :model""",
    "INSERT INTO core.run (id, request_id, attempt, fence, worker, state) VALUES (:run, :request, 1, 1, 'w', 'done')",
    """
    INSERT INTO core.version (model_id, version, request_id, run_id, fence, artifact_key, sha256, size_bytes,
        upto_seq, snapshot_rows, snapshot_hash, holdout, metrics, gate, passed)
    SELECT id, 1, :request, :run, 1, 'k', 's', 1, :upto, 1, 'h', '{}', '{}', '{}', true
    FROM core.model WHERE name = :model""",
)
