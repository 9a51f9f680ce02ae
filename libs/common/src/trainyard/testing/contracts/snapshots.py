"""What every reader of snapshots does. The class needs the fixture ``warehouse``."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest

from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema
from trainyard.snapshot import Texts
from trainyard.snapshot.rows import snapshot_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.snapshots import Snapshots

SCHEMA = Schema(
    [
        Column("id", "int", role="key"),
        Column("share", "float"),
        Column("count", "int"),
        Column("flag", "bool"),
        Column("city", "category"),
        Column("remark", "text"),
        Column("day", "date"),
        Column("at", "timestamp", role="event_time"),
    ]
)
KEYLESS = Schema([Column("share", "float"), Column("city", "category")])
_FLOATS = [0.0, -0.0, 0.1, 1.0, 100.0, 1e-4, 9.5e-5, 1e14, 1e15, 123456789012345.6, 1.5e300, -2.5e-300, 1 / 3, 5e-324]
_TEXTS = ["", "\\N", "a\tb", "line\nbreak", "back\\slash", "\r\v\f\b", "Zürich 🚀", "NULL"]


class Warehouse(Protocol):
    """Where rows are put before they are read."""

    snapshots: Snapshots

    def store(self, schema: Schema, rows: Sequence[Mapping[str, Any]], dataset_id: int | None = None) -> int:
        """Append clean rows to a dataset, a new one by default; return its id."""
        ...


def row(number: int, **values: Any) -> dict[str, Any]:
    """Return a row of SCHEMA."""
    return {
        "id": number,
        "share": _FLOATS[number % len(_FLOATS)],
        "count": number * 10,
        "flag": number % 2 == 0,
        "city": ["Bern", "Genf", None][number % 3],
        "remark": _TEXTS[number % len(_TEXTS)],
        "day": date(2024, 2, 28),
        "at": datetime(2024, 2, 28, 12, 30, 15, number * 1000, tzinfo=UTC),
        **values,
    }


class SnapshotsContract:
    """Types, order, latest of a key, and the hash."""

    def test_columns(self, warehouse: Warehouse) -> None:
        """Every type arrives as its array, missing values included."""
        nothing = dict.fromkeys(SCHEMA.names)
        dataset = warehouse.store(SCHEMA, [row(1), {**nothing, "id": 2}, row(3)])
        snapshot = warehouse.snapshots.read(dataset, 3)
        assert snapshot.schema == SCHEMA
        assert (snapshot.rows, snapshot.upto_seq) == (3, 3)
        assert snapshot.seq.tolist() == snapshot.first_seq.tolist() == [1, 2, 3]
        columns = snapshot.columns
        np.testing.assert_array_equal(columns["share"], [_FLOATS[1], np.nan, _FLOATS[3]])
        np.testing.assert_array_equal(columns["count"], [10.0, np.nan, 30.0])
        np.testing.assert_array_equal(columns["flag"], [0.0, np.nan, 0.0])
        cities, remarks = columns["city"], columns["remark"]
        assert isinstance(cities, Texts)
        assert isinstance(remarks, Texts)
        assert cities.values().tolist() == ["Genf", None, "Bern"]
        assert remarks.values().tolist() == [_TEXTS[1], None, _TEXTS[3]]
        assert np.asarray(columns["day"]).tolist()[:2] == [datetime(2024, 2, 28), None]  # noqa: DTZ001 - numpy knows no zones
        assert np.asarray(columns["at"]).tolist()[0] == datetime(2024, 2, 28, 12, 30, 15, 1000)  # noqa: DTZ001

    def test_every_text_and_float_comes_back(self, warehouse: Warehouse) -> None:
        """What is hard to write down is read as it was stored."""
        rows = [row(n, share=f, remark=t) for n, (f, t) in enumerate(zip(_FLOATS, _TEXTS * 2, strict=False), start=1)]
        snapshot = warehouse.snapshots.read(warehouse.store(SCHEMA, rows), len(rows))
        assert np.asarray(snapshot.columns["share"]).tolist() == [r["share"] for r in rows]
        remarks = snapshot.columns["remark"]
        assert isinstance(remarks, Texts)
        assert remarks.values().tolist() == [r["remark"] for r in rows]

    def test_rows_behind_the_end_are_not_there(self, warehouse: Warehouse) -> None:
        """A snapshot ends where it was told to, however much has come since."""
        dataset = warehouse.store(SCHEMA, [row(n) for n in range(1, 6)])
        before = warehouse.snapshots.read(dataset, 3)
        warehouse.store(SCHEMA, [row(n) for n in range(6, 9)], dataset)
        after = warehouse.snapshots.read(dataset, 3)
        assert after.rows == 3
        assert after.sha256 == before.sha256

    def test_latest_of_each_key(self, warehouse: Warehouse) -> None:
        """A corrected row is read once, in its newest form, and remembers the number of its first one."""
        rows = [row(1), row(2), row(1, count=99), row(3), row(1, count=100)]
        dataset = warehouse.store(SCHEMA, rows)
        snapshot = warehouse.snapshots.read(dataset, 5)
        assert snapshot.seq.tolist() == [2, 4, 5]
        assert snapshot.first_seq.tolist() == [2, 4, 1]
        assert np.asarray(snapshot.columns["count"]).tolist() == [20.0, 30.0, 100.0]
        earlier = warehouse.snapshots.read(dataset, 4)
        assert earlier.seq.tolist() == [2, 3, 4]
        assert np.asarray(earlier.columns["count"]).tolist() == [20.0, 99.0, 30.0]

    def test_corrections_share_a_unit(self, warehouse: Warehouse) -> None:
        """The hash that decides about the hold-out is that of the key, before and after a correction."""
        dataset = warehouse.store(SCHEMA, [row(1), row(2), row(1, count=99)])
        before, after = warehouse.snapshots.read(dataset, 2), warehouse.snapshots.read(dataset, 3)
        assert before.unit[0] == after.unit[1]
        assert before.unit[1] == after.unit[0]

    def test_rows_without_a_key_stay_apart(self, warehouse: Warehouse) -> None:
        """Rows whose key is missing are different rows."""
        snapshot = warehouse.snapshots.read(warehouse.store(SCHEMA, [row(1, id=None), row(2, id=None)]), 2)
        assert snapshot.seq.tolist() == [1, 2]
        assert len(set(snapshot.unit.tolist())) == 2

    def test_dataset_without_keys(self, warehouse: Warehouse) -> None:
        """Without key columns every row counts, equal ones too."""
        rows = [{"share": 1.0, "city": "Bern"}] * 3
        snapshot = warehouse.snapshots.read(warehouse.store(KEYLESS, rows), 3)
        assert snapshot.rows == 3
        assert len(set(snapshot.unit.tolist())) == 3

    def test_hash_is_that_of_the_rows(self, warehouse: Warehouse) -> None:
        """The content hash is the same wherever the rows are stored, and anybody can compute it."""
        rows = [row(n) for n in range(1, 30)]
        snapshot = warehouse.snapshots.read(warehouse.store(SCHEMA, rows), 29)
        assert snapshot.sha256 == snapshot_of(SCHEMA, rows).sha256

    def test_hash_follows_the_content(self, warehouse: Warehouse) -> None:
        """Another cell, order or number of rows gives another hash."""
        rows = [row(n) for n in range(1, 4)]
        stored = [rows, [*rows[:2], row(3, count=7)], [rows[1], rows[0], rows[2]], rows[:2]]
        hashes = {warehouse.snapshots.read(warehouse.store(SCHEMA, each), 9).sha256 for each in stored}
        assert len(hashes) == 4

    def test_nothing_yet(self, warehouse: Warehouse) -> None:
        """A dataset without rows gives an empty snapshot, with arrays of the right kinds."""
        snapshot = warehouse.snapshots.read(warehouse.store(SCHEMA, []), 0)
        assert snapshot.rows == 0
        assert np.asarray(snapshot.columns["at"]).dtype == np.dtype("datetime64[us]")
        assert isinstance(snapshot.columns["city"], Texts)

    def test_unknown_dataset(self, warehouse: Warehouse) -> None:
        """A dataset that is not there is named."""
        with pytest.raises(ServiceError, match="unknown_dataset"):
            warehouse.snapshots.read(987_654, 1)

    def test_reading_can_be_stopped(self, warehouse: Warehouse) -> None:
        """What the progress callback raises ends the reading, and the next reading works."""
        dataset = warehouse.store(SCHEMA, [row(n) for n in range(1, 30)])

        def stop(rows: int) -> None:
            raise InterruptedError(rows)

        with pytest.raises(InterruptedError):
            warehouse.snapshots.read(dataset, 29, progress=stop)
        assert warehouse.snapshots.read(dataset, 29).rows == 29
