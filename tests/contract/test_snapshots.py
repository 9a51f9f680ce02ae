"""The snapshots contract on the fake and on Postgres."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.snapshots import PostgresSnapshots
from trainyard.testing.contracts import SnapshotsContract
from trainyard.testing.fakes import MemorySnapshots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainyard.schema import Schema

_TYPES = {
    "bool": "boolean",
    "int": "bigint",
    "float": "double precision",
    "text": "text",
    "category": "text",
    "date": "date",
    "timestamp": "timestamp with time zone",
}


def _parameter(value: Any) -> Any:
    """Return a float as text: the driver would write a negative zero as a positive one."""
    return repr(value) if isinstance(value, float) else value


class MemoryWarehouse:
    """The fake's other side."""

    def __init__(self) -> None:
        self.snapshots = MemorySnapshots()
        self._last = 0

    def store(self, schema: Schema, rows: Sequence[Mapping[str, Any]], dataset_id: int | None = None) -> int:
        self._last += 1
        number = dataset_id or self._last
        self.snapshots.store(number, schema, rows)
        return number


class PostgresTables:
    """Tables as the warehouse makes them, with the rows in a physical order that is not theirs."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.snapshots = PostgresSnapshots(engine)

    def store(self, schema: Schema, rows: Sequence[Mapping[str, Any]], dataset_id: int | None = None) -> int:
        with self._engine.begin() as connection:
            if dataset_id is None:
                columns = [{**c.to_dict(), "physical": f"c{n}"} for n, c in enumerate(schema.columns, start=1)]
                dataset_id = connection.execute(
                    sa.text("INSERT INTO core.dataset (name, columns) VALUES (:name, :columns) RETURNING id"),
                    {"name": f"d{uuid.uuid4().hex[:20]}", "columns": json.dumps(columns)},
                ).scalar_one()
                cells = ", ".join(f"c{n} {_TYPES[c.type]}" for n, c in enumerate(schema.columns, start=1))
                connection.execute(
                    sa.text(
                        f"CREATE TABLE data_.t_{dataset_id} (ingest_seq bigint PRIMARY KEY, batch_id uuid, {cells})"
                    )
                )
            last = connection.execute(
                sa.text("SELECT last_seq FROM core.dataset WHERE id = :id FOR UPDATE"), {"id": dataset_id}
            ).scalar_one()
            names = [f"c{n}" for n in range(1, len(schema.columns) + 1)]
            insert = sa.text(
                f"INSERT INTO data_.t_{dataset_id} (ingest_seq, {', '.join(names)})"
                f" VALUES (:seq, {', '.join(':' + n for n in names)})"
            )
            for seq, row in reversed(list(enumerate(rows, start=last + 1))):
                connection.execute(
                    insert,
                    {"seq": seq} | {n: _parameter(row.get(c.name)) for n, c in zip(names, schema.columns, strict=True)},
                )
            connection.execute(
                sa.text("UPDATE core.dataset SET last_seq = :seq WHERE id = :id"),
                {"seq": last + len(rows), "id": dataset_id},
            )
        return int(dataset_id)


class TestMemorySnapshots(SnapshotsContract):
    """The fake."""

    @pytest.fixture
    def warehouse(self) -> MemoryWarehouse:
        """No dataset yet."""
        return MemoryWarehouse()


class TestPostgresSnapshots(SnapshotsContract):
    """The adapter, on a database of its own."""

    @pytest.fixture
    def warehouse(self, database_url: str) -> Iterator[PostgresTables]:
        """No dataset yet."""
        engine = make_engine(database_url, service="test")
        yield PostgresTables(engine)
        engine.dispose()
