"""CSV as the reference reads it, cell by cell, and as it comes out of Postgres after the fast road: always the same."""

import csv
import io

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema, parse_text
from trainyard_ingest.domain import source as source_module
from trainyard_ingest.domain.csv_rows import read_csv
from trainyard_ingest.domain.source import Source
from trainyard_ingest.domain.tally import Tally

SQL_TYPES = {
    "int": "bigint",
    "float": "double precision",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamptz",
    "text": "text",
    "category": "text",
}
NASTY = {
    "int": "0 -0 +7 007 3.0 1e3 1e30 1_000 0x1F 0X1f -0x1 0b1 0o7 9223372036854775807 9223372036854775808"
    " -9223372036854775808 - +- 1-2 NaN 1.5 ١ 1234567890123456789.0 00001234567890123456789 1e-400 1.5e1",
    "float": "1 -1. +.5 1e5 1E-5 1e-400 1e400 4.9e-324 1e-310 0x1p3 0x10 nan inf -Infinity 1_0 . 1e 1e00000005 -0.0"
    " 1d5 1,5 0." + "0" * 330 + "1 " + "9" * 308 + " " + "9" * 309 + " -" + "1" * 320,
    "bool": "true FALSE tRuE t f 1 0 yes No y on off 2 truee",
    "date": "2024-02-29 2023-02-29 0001-01-01 0000-01-01 9999-12-31 10000-01-01 2024-1-1 20240101 infinity today epoch",
    "timestamp": "2024-01-01T00:00:00Z 2024-01-01T00:00:00 2024-01-01T24:00:00Z 2024-01-01T00:00:60Z"
    " 2024-01-01T00:00:00.1234567+02:00 2024-01-01T01Z 2024-01-01T01+02 2024-01-01T01:02+0200 2024-01-01T01:02:03+16:00"
    " 2024-01-01T01:02:03-23:59 2024-01-01T01:02:03+02:60 0001-01-01T00:00:00+02:00 0001-01-01T00:00:00Z"
    " 9999-12-31T23:59:59Z 9999-12-31T23:59:59-02:00 2024-01-01t01:02:03z now infinity 2024-01-01T01:02:03.1Z",
    "text": r"a ä \N \. \ NULL null é€𝄞 'x' -- 0x1 " + "x" * 300,
    "category": r"a ä \. " + "x" * 256 + " " + "x" * 257 + " " + "ä" * 129,
}
KINDS = sorted(NASTY)


def cells(kind):
    """Cells that are right, wrong, odd, or odd in CSV."""
    known = st.sampled_from(["", " ", *NASTY[kind].split(" ")])
    free = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
    spaced = known.map(lambda cell: f" {cell} ")
    return st.one_of(known, known, known, spaced, free, free.map(lambda t: f'{t}"\r\n,\\.'))


@st.composite
def tables(draw):
    """A schema, records, and a spelling of them as CSV."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    schema = Schema([Column(f"c{n}", kind, nullable=draw(st.booleans())) for n, kind in enumerate(kinds)])
    records = draw(st.lists(st.tuples(*(cells(kind) for kind in kinds)), min_size=1, max_size=12))
    out = io.StringIO()
    bare = any("\r" in cell for record in records for cell in record)  # which csv does not put in quotes by itself
    quoting = csv.QUOTE_ALL if bare else draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(out, quoting=quoting, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerow(schema.names)
    writer.writerows(records)
    return schema, records, out.getvalue().encode(), draw(st.sampled_from([3, 40, 1 << 20]))


def reference(schema, records):
    """Return the values of the good rows, and the places of the bad cells."""
    good, bad = [], []
    for number, record in enumerate(records, start=1):
        checked = [parse_text(column, cell) for column, cell in zip(schema.columns, record, strict=True)]
        wrong = [(number, c.name) for c, (_, expected) in zip(schema.columns, checked, strict=True) if expected]
        bad += wrong
        if not wrong:
            good.append(tuple(value for value, _ in checked))
    return good, bad


@pytest.fixture(scope="module")
def connection(postgres):
    """A database of this module's own; nothing is ever committed."""
    name = postgres.create_database()
    connection = psycopg2.connect(postgres.dsn(name))
    yield connection
    connection.close()
    postgres.drop_database(name)


def copied(connection, schema, chunks):
    """COPY as the warehouse does it, and return what is in the table then."""
    connection.rollback()  # of an example that failed
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL(SQL_TYPES[c.type])) for c in schema.columns
        )
        cursor.execute(sql.SQL("CREATE TEMPORARY TABLE t (n bigserial, {})").format(columns))
        names = sql.SQL(", ").join(map(sql.Identifier, schema.names))
        statement = sql.SQL("COPY t ({0}) FROM STDIN (FORMAT csv, FORCE_NULL ({0}))").format(names)
        cursor.copy_expert(statement, io.BytesIO(b"".join(chunks)))
        cursor.execute(sql.SQL("SELECT {} FROM t ORDER BY n").format(names))
        rows = cursor.fetchall()
    connection.rollback()
    return rows


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_fast_road_and_reference_agree(connection, table):
    """The same rows are rejected for the same cells, and Postgres holds just the values that the reference reads."""
    schema, records, body, block_bytes = table
    records = [record for record in records if not (len(record) == 1 and record[0] == "" and b'""' not in body)]
    good, bad = reference(schema, records)
    before, source_module.BLOCK_BYTES = source_module.BLOCK_BYTES, block_bytes
    tally = Tally()
    try:
        rows = read_csv(Source(io.BytesIO(body), 1 << 30), schema, tally)
        chunks = list(rows.chunks)
    finally:
        source_module.BLOCK_BYTES = before
    assert (tally.rows, [(p.row, p.column) for p in tally.problems]) == (len(records), bad)
    assert copied(connection, schema, chunks) == good


TEXTS = Schema([Column("x", "text"), Column("y", "text")])
LOOSE = st.lists(st.sampled_from(["a", "1", ",", '"', "\n", "\r", "\\", ".", " ", "\0", "ä"]), max_size=30).map("".join)


def outcome(text, block_bytes):
    """Return the code of the refusal, or the tally and the chunks."""
    before, source_module.BLOCK_BYTES = source_module.BLOCK_BYTES, block_bytes
    tally = Tally()
    try:
        rows = read_csv(Source(io.BytesIO(b"x,y\n" + text.encode()), 1 << 30), TEXTS, tally)
        return tally, list(rows.chunks)
    except ServiceError as e:
        return e.code, []
    finally:
        source_module.BLOCK_BYTES = before


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=LOOSE, block_bytes=st.sampled_from([1, 5, 1 << 20]))
def test_any_bytes_are_read_as_csv_reads_them(connection, text, block_bytes):
    """Whatever quotes and line ends do, the records are those of Python's csv module, or the body is refused."""
    try:
        records = [r for r in csv.reader(io.StringIO(text, newline=""), strict=True) if r]
        refused = any(len(record) != len(TEXTS.columns) for record in records)
    except csv.Error:
        refused = True
    tally, chunks = outcome(text, block_bytes)
    if refused:
        assert tally == "bad_csv"
        return
    good = [tuple(cell or None for cell in record) for record in records if not any("\0" in cell for cell in record)]
    assert (tally.rows, tally.rows - tally.rejected) == (len(records), len(good))
    assert copied(connection, TEXTS, chunks) == good
