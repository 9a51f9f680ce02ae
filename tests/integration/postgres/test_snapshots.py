"""Snapshots from a real Postgres: rows, blocks and any mixture of them, against the plain reference."""

from __future__ import annotations

import json
import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import errors

from trainyard.adapters.postgres import blocks
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.snapshots import PostgresSnapshots, wire
from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema
from trainyard.testing.snapshot_reference import Row, listed, reference, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA = Schema([Column("id", "int", role="key"), Column("share", "float"), Column("city", "category")])
PLAIN = Schema([Column("n", "int"), Column("city", "text")])


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine of the test's database."""
    engine = make_engine(database_url, service="test")
    yield engine
    engine.dispose()


def create(engine: sa.Engine, schema: Schema) -> int:
    """Make a dataset's record and table; return its id."""
    columns = [{**c.to_dict(), "physical": f"c{n}"} for n, c in enumerate(schema.columns, start=1)]
    with engine.begin() as connection:
        number = connection.execute(
            sa.text("INSERT INTO core.dataset (name, columns) VALUES (:name, :columns) RETURNING id"),
            {"name": f"d{uuid.uuid4().hex[:20]}", "columns": json.dumps(columns)},
        ).scalar_one()
        connection.execute(sa.text("SELECT core.shape_dataset(:id)"), {"id": number})
    return int(number)


def store(engine: sa.Engine, dataset: int, schema: Schema, rows: Mapping[int, Row]) -> None:
    """Insert rows under their numbers, the last one first."""
    names = [f"c{n}" for n in range(1, len(schema.columns) + 1)]
    insert = sa.text(
        f"INSERT INTO data_.t_{dataset} (ingest_seq, {', '.join(names)})"
        f" VALUES (:seq, {', '.join(':' + n for n in names)})"
    )
    with engine.begin() as connection:
        for seq in sorted(rows, reverse=True):
            values = [rows[seq][c.name] for c in schema.columns]
            # The driver would write a negative zero as a positive one.
            cells = [repr(v) if isinstance(v, float) else v for v in values]
            connection.execute(insert, {"seq": seq, **dict(zip(names, cells, strict=True))})


def erase(engine: sa.Engine, dataset: int, seqs: set[int]) -> None:
    """Take rows away as an erasure does."""
    with engine.begin() as connection:
        connection.execute(
            sa.text(f"DELETE FROM data_.t_{dataset} WHERE ingest_seq = ANY(:seqs)"), {"seqs": sorted(seqs)}
        )
        blocks.forget(connection, dataset, min(seqs), max(seqs))


def known(engine: sa.Engine, dataset: int) -> list[tuple[int, int]]:
    """Return the spans of the blocks that are stored."""
    with engine.begin() as connection:
        found = connection.execute(
            sa.text("SELECT first_seq, last_seq FROM core.block WHERE dataset_id = :id ORDER BY 1"), {"id": dataset}
        )
        return [(row.first_seq, row.last_seq) for row in found]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables(), st.integers(1, 7), st.data())
def test_any_rows_in_any_way(
    engine: sa.Engine, table: tuple[Schema, list[Row]], block_rows: int, data: st.DataObject
) -> None:
    """However a snapshot is read, from rows, blocks or both, and whatever came or went in between, it is the same."""
    schema, rows = table
    snapshots = PostgresSnapshots(engine, block_rows=block_rows)
    dataset = create(engine, schema)
    stored: dict[int, Row] = {}
    left = dict(enumerate(rows, start=1))
    for _ in range(data.draw(st.integers(1, 4))):
        part = dict(list(left.items())[: data.draw(st.integers(0, len(left)))])
        left = {seq: row for seq, row in left.items() if seq not in part}
        store(engine, dataset, schema, part)
        stored |= part
        if stored and data.draw(st.booleans()):
            gone = data.draw(st.sets(st.sampled_from(sorted(stored)), min_size=1, max_size=3))
            erase(engine, dataset, gone)
            stored = {seq: row for seq, row in stored.items() if seq not in gone}
        for upto in data.draw(st.lists(st.integers(0, len(rows) + 2), min_size=1, max_size=3)):
            assert listed(snapshots.read(dataset, upto)) == reference(schema, stored, upto, block_rows)


def test_times_of_any_year(engine: sa.Engine) -> None:
    """Years before Christ and of five digits, which no schema lets in but the table could hold, are read exactly."""
    schema = Schema([Column("day", "date"), Column("at", "timestamp")])
    dataset = create(engine, schema)
    days = ["0044-03-15 BC", "2024-02-29", "12024-02-29", "0001-01-01"]
    times = ["4713-01-01 00:00:00.5+00 BC", "2024-02-29 12:00:00.25+00", "20240-02-29 12:00:00+00", "0001-01-01+00"]
    with engine.begin() as connection:
        for seq, pair in enumerate(zip(days, times, strict=True), start=1):
            connection.execute(
                sa.text(f"INSERT INTO data_.t_{dataset} (ingest_seq, c1, c2) VALUES (:seq, :day, :at)"),
                {"seq": seq, "day": pair[0], "at": pair[1]},
            )
    snapshot = PostgresSnapshots(engine).read(dataset, 9)
    expected = ["-0043-03-15", "2024-02-29", "+12024-02-29", "0001-01-01"]
    assert np.array_equal(snapshot.columns["day"], np.array(expected, dtype="datetime64[us]"))
    expected = ["-4712-01-01T00:00:00.5", "2024-02-29T12:00:00.25", "+20240-02-29T12:00:00", "0001-01-01T00:00:00"]
    assert np.array_equal(snapshot.columns["at"], np.array(expected, dtype="datetime64[us]"))


@pytest.mark.parametrize("encrypted", [False, True])
def test_small_pieces(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, encrypted: bool) -> None:
    """A block of many pieces, a row that is longer than one and a far year, is one block, however rows are received."""
    monkeypatch.setattr("trainyard.adapters.postgres.snapshots.wire._encrypted", lambda _: encrypted)
    monkeypatch.setattr("trainyard.adapters.postgres.snapshots.wire.PIECE_BYTES", 100)
    schema = Schema([Column("day", "date"), Column("at", "timestamp"), Column("t", "text")])
    start = datetime(2024, 2, 28, 12, 30, 15, 250_000, tzinfo=UTC)
    rows: dict[int, Row] = {
        n: {"day": start.date(), "at": start + timedelta(hours=n), "t": f"x{n}"} for n in range(1, 60)
    }
    rows[30] = {"day": None, "at": None, "t": "long " * 100}  # longer than a piece
    dataset = create(engine, schema)
    store(engine, dataset, schema, rows)
    snapshots = PostgresSnapshots(engine)
    assert listed(snapshots.read(dataset, 59)) == reference(schema, rows, 59, 65_536)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE data_.t_{dataset} SET c2 = '20240-01-01' WHERE ingest_seq = 40"))
        blocks.forget(connection, dataset, 40, 40)
    moved = snapshots.read(dataset, 59).columns["at"]
    assert np.asarray(moved)[[38, 39, 40]].astype(str).tolist() == [
        "2024-03-01T03:30:15.250000",
        "20240-01-01T00:00:00.000000",
        "2024-03-01T05:30:15.250000",
    ]


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_the_server_refuses(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, encrypted: bool) -> None:
    """An error of the server is the same exception, however rows are received."""
    monkeypatch.setattr("trainyard.adapters.postgres.snapshots.wire._encrypted", lambda _: encrypted)
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        with pytest.raises(errors.DivisionByZero, match="division by zero") as raised:
            wire.receive(driver, "SELECT 1 / (3 - n) FROM generate_series(1, 5) n", lambda _: None)
        assert raised.value.pgcode == "22012"
        connection.invalidate()


def test_the_connection_goes_on(engine: sa.Engine) -> None:
    """After its answer the driver finds its connection as it was, in the same transaction."""
    pieces: list[bytes] = []
    with engine.begin() as connection:
        number = connection.exec_driver_sql("SELECT pg_current_xact_id()").scalar_one()
        driver: Any = connection.connection.dbapi_connection
        wire.receive(driver, "SELECT n FROM generate_series(1, 3) n", lambda piece: pieces.append(bytes(piece)))
        assert connection.exec_driver_sql("SELECT pg_current_xact_id()").scalar_one() == number
    assert [int(line) for line in b"".join(pieces).split()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "value"), [("date", "infinity"), ("timestamp", "-infinity"), ("date", "400000-01-01")]
)
def test_times_out_of_reach(engine: sa.Engine, kind: str, value: str) -> None:
    """A time without end, or one that microseconds cannot hold, is an error, not another time."""
    schema = Schema([Column("at", kind)])
    dataset = create(engine, schema)
    with engine.begin() as connection:
        connection.execute(
            sa.text(f"INSERT INTO data_.t_{dataset} (ingest_seq, c1) VALUES (1, :value)"), {"value": value}
        )
    with pytest.raises(ValueError, match="out of reach"):
        PostgresSnapshots(engine).read(dataset, 1)


def rows_of(count: int) -> dict[int, Row]:
    """Return rows of PLAIN."""
    return {n: {"n": n % 7, "city": f"c{n % 3}"} for n in range(1, count + 1)}


def test_blocks_are_written_once(engine: sa.Engine) -> None:
    """A reading leaves a block for each part, the last one as far as it got; a longer one takes its place."""
    dataset = create(engine, PLAIN)
    store(engine, dataset, PLAIN, rows_of(25))
    snapshots = PostgresSnapshots(engine, block_rows=10)
    snapshots.read(dataset, 22)
    assert known(engine, dataset) == [(1, 10), (11, 20), (21, 22)]
    snapshots.read(dataset, 25)
    assert known(engine, dataset) == [(1, 10), (11, 20), (21, 25)]
    snapshots.read(dataset, 15)
    assert known(engine, dataset) == [(1, 10), (11, 20), (21, 25)]


def test_blocks_are_used(engine: sa.Engine) -> None:
    """What a block holds is not read from the table again."""
    dataset = create(engine, PLAIN)
    store(engine, dataset, PLAIN, rows_of(25))
    snapshots = PostgresSnapshots(engine, block_rows=10)
    before = snapshots.read(dataset, 25)
    with engine.begin() as connection:  # nobody does this; it shows where the rows come from
        connection.execute(sa.text(f"UPDATE data_.t_{dataset} SET c1 = 0"))
    assert snapshots.read(dataset, 25).sha256 == before.sha256


def test_another_revision(engine: sa.Engine) -> None:
    """Blocks that were written before a column was widened are not used after it."""
    dataset = create(engine, PLAIN)
    store(engine, dataset, PLAIN, rows_of(25))
    snapshots = PostgresSnapshots(engine, block_rows=10)
    snapshots.read(dataset, 25)
    wider = Schema([Column("n", "float"), Column("city", "text")])
    columns = [{**c.to_dict(), "physical": f"c{n}"} for n, c in enumerate(wider.columns, start=1)]
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE core.dataset SET columns = :columns, revision = revision + 1 WHERE id = :id"),
            {"id": dataset, "columns": json.dumps(columns)},
        )
        connection.execute(sa.text("SELECT core.shape_dataset(:id)"), {"id": dataset})
    rows = {seq: {**row, "n": float(row["n"])} for seq, row in rows_of(25).items()}
    for _ in range(2):
        assert listed(snapshots.read(dataset, 25)) == reference(wider, rows, 25, 10)


@pytest.mark.parametrize("damage", ["packed = '\\x00'", "packed = overlay(packed placing '\\x55' from 60)"])
def test_a_damaged_block(engine: sa.Engine, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    """A block whose bytes have changed is noticed, said, removed, and written anew from the rows."""
    dataset = create(engine, PLAIN)
    store(engine, dataset, PLAIN, rows_of(25))
    snapshots = PostgresSnapshots(engine, block_rows=10)
    before = snapshots.read(dataset, 25)
    with engine.begin() as connection:
        connection.execute(
            sa.text(f"UPDATE core.block SET {damage} WHERE dataset_id = :id AND first_seq = 11"), {"id": dataset}
        )
    with caplog.at_level(logging.WARNING):
        assert snapshots.read(dataset, 25).sha256 == before.sha256
    assert "block.corrupt" in caplog.text
    caplog.clear()
    assert snapshots.read(dataset, 25).sha256 == before.sha256
    assert "block.corrupt" not in caplog.text
    assert known(engine, dataset) == [(1, 10), (11, 20), (21, 25)]


def test_an_erasure_while_somebody_reads(engine: sa.Engine) -> None:
    """A reader that has seen rows before they were erased does not bring them back as blocks."""
    dataset = create(engine, PLAIN)
    store(engine, dataset, PLAIN, rows_of(25))
    erased: list[bool] = []

    def erase_once(_: int) -> None:
        if not erased:
            erased.append(True)
            erase(engine, dataset, {3})

    snapshots = PostgresSnapshots(engine, block_rows=10)
    seen = snapshots.read(dataset, 25, progress=erase_once)
    assert seen.rows == 25  # one view of the database, the one that it began with
    assert not [span for span in known(engine, dataset) if span[0] <= 3 <= span[1]]
    assert snapshots.read(dataset, 25).rows == 24


def test_storing_never_fails_a_reading(engine: sa.Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Where blocks cannot be written, reading goes on without, and the log says so."""
    dataset = create(engine, PLAIN)
    store(engine, dataset, PLAIN, rows_of(25))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE core.block ADD CONSTRAINT refused CHECK (rows > 10)")
    with caplog.at_level(logging.WARNING):
        assert PostgresSnapshots(engine, block_rows=10).read(dataset, 25).rows == 25
    assert "block.not_stored" in caplog.text


def test_many_readers_at_once(engine: sa.Engine) -> None:
    """A second reader that writes the same blocks meets those of the first."""
    dataset = create(engine, SCHEMA)
    rows: dict[int, Row] = {n: {"id": n % 9, "share": n / 8, "city": "Bern"} for n in range(1, 60)}
    store(engine, dataset, SCHEMA, rows)
    snapshots = PostgresSnapshots(engine, block_rows=10)
    inner: list[str] = []

    def read_too(_: int) -> None:
        if not inner:
            inner.append("")
            inner[0] = snapshots.read(dataset, 59).sha256

    outer = snapshots.read(dataset, 59, progress=read_too)
    assert inner == [outer.sha256] == [reference(SCHEMA, rows, 59, 10).sha256]
    assert len(known(engine, dataset)) == 6


def test_a_deleted_dataset_has_no_blocks(engine: sa.Engine) -> None:
    """Who reads a dataset that is gone is told so."""
    dataset = create(engine, PLAIN)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE core.dataset SET deleted_at = now() WHERE id = :id"), {"id": dataset})
        connection.execute(sa.text("SELECT core.shape_dataset(:id)"), {"id": dataset})
    with pytest.raises(ServiceError, match="unknown_dataset"):
        PostgresSnapshots(engine).read(dataset, 1)


def test_no_sort(engine: sa.Engine) -> None:
    """Rows come in the order of the primary key, by its index: a sort would take all of them before the first."""
    dataset = create(engine, PLAIN)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO data_.t_{dataset} (ingest_seq, c1, c2) SELECT n, n, 'x' FROM generate_series(1, 50000) n"
        )
        connection.exec_driver_sql(f"ANALYZE data_.t_{dataset}")
        plan: Any = connection.exec_driver_sql(
            f"EXPLAIN SELECT ingest_seq, c1, c2 FROM data_.t_{dataset}"
            " WHERE ingest_seq BETWEEN 1 AND 50000 ORDER BY ingest_seq"
        )
        words = "\n".join(row[0] for row in plan)
    assert "Index Scan" in words
    assert "Sort" not in words
    assert "Gather" not in words
