"""CSV bodies: what is read, what is rejected row by row, what is refused as a whole."""

import io
import random

import pytest

from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema, parse_text
from trainyard.testing.fakes.warehouse import csv_records
from trainyard_ingest.domain import source as source_module
from trainyard_ingest.domain.cells import BlockChecker
from trainyard_ingest.domain.csv_blocks import MAX_CELL_CHARS, MAX_LINE_BYTES, Block, written
from trainyard_ingest.domain.csv_rows import read_csv
from trainyard_ingest.domain.source import Source
from trainyard_ingest.domain.tally import Tally

SCHEMA = Schema(
    [
        Column("id", "int", nullable=False),
        Column("price", "float"),
        Column("note", "text"),
        Column("ok", "bool"),
    ]
)


def _read(body, schema=SCHEMA):
    """Return the checked rows as dictionaries, and the tally."""
    tally = Tally()
    rows = read_csv(Source(io.BytesIO(body), 1 << 30), schema, tally)
    assert rows.quoted_empty_is_missing
    records = [[cell or None for cell in record] for chunk in rows.chunks for record in csv_records(chunk)]
    return [dict(zip(rows.columns, record, strict=True)) for record in records], tally


def _refusal(body, schema=SCHEMA):
    with pytest.raises(ServiceError) as refused:
        _read(body, schema)
    return refused.value


def test_columns_in_any_order():
    """Names bind, positions do not; nullable columns may be left out; a byte order mark is not part of a name."""
    rows, tally = _read("\ufeffok,id\nTRUE,1\nno,2\n".encode())
    assert rows == [{"ok": "TRUE", "id": "1"}, {"ok": "no", "id": "2"}]
    assert (tally.rows, tally.rejected) == (2, 0)


def test_quotes_and_line_ends():
    """Quoted cells hold commas, quotes and line ends; CRLF, blank lines and no last line end are fine."""
    rows, tally = _read(b'id,note\r\n1,"a,""b""\r\nc"\r\n\r\n2,\r\n3,last')
    assert [row["note"] for row in rows] == ['a,"b"\r\nc', None, "last"]
    assert tally.rows == 3


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7])
def test_blocks_may_end_anywhere(monkeypatch, block_bytes):
    """The same rows come out wherever the network cuts the body: within a letter, a quote or a line end."""
    monkeypatch.setattr(source_module, "BLOCK_BYTES", block_bytes)
    rows, _ = _read('id,note\r\n1,"ä€\r\n""x"\r\n2,𝄞\r\n'.encode())
    assert [row["note"] for row in rows] == ['ä€\r\n"x', "𝄞"]


def test_rejects_name_row_and_column():
    """Rows that do not fit are left out and listed by the caller's own count; the others go in."""
    body = "id,price,ok\n1,nan,\n2,1.5,perhaps\n,2,t\n4,,f\nx,inf,u\n5,1e400,t\n"
    rows, tally = _read(body.encode())
    assert [row["id"] for row in rows] == ["4"]
    assert (tally.rows, tally.rejected) == (6, 5)
    assert [(p.row, p.column, p.got) for p in tally.problems] == [
        (1, "price", "nan"),
        (2, "ok", "perhaps"),
        (3, "id", ""),
        (5, "id", "x"),
        (5, "price", "inf"),
        (5, "ok", "u"),
        (6, "price", "1e400"),
    ]


def test_rows_are_counted_over_chunks():
    """A bad row far down keeps its number."""
    body = b"id\n" + b"".join(b"%d\n" % n for n in range(1, 12_001)) + b"oops\n"
    rows, tally = _read(body)
    assert (len(rows), tally.rows, tally.rejected) == (12_000, 12_001, 1)
    assert [(p.row, p.column) for p in tally.problems] == [(12_001, "id")]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "empty_body", "empty"),
        (b"\n\n", "empty_body", "empty"),
        (b"id,note\n1\n", "bad_csv", "1 cells, the header has 2"),
        (b"id,note\n1,a,b\n", "bad_csv", "3 cells, the header has 2"),
        (b'id,note\n1,"a\n2,b\n', "bad_csv", "line 3"),
        (b'id,note\n1,"a"b\n', "bad_csv", "line 2"),
        (b"id,note\n1,\xff\n", "bad_csv", "not UTF-8 in line 2"),
        (b"id,note\n1,\xc3", "bad_csv", "not UTF-8"),
        (b"id,id\n1,1\n", "bad_csv", "twice"),
        (b"id,note\n1," + b"x" * MAX_LINE_BYTES + b"\n", "csv_limit", "longer than"),
        (b'id,note\n1,"' + b"x\n" * 100_000 + b'"\n', "csv_limit", "field larger"),
        (b"id,note\n1," + b"x" * (MAX_CELL_CHARS + 1) + b"\n", "csv_limit", "field larger"),
    ],
)
def test_refused_as_a_whole(body, code, said):
    """What cannot be read is refused with the place where it breaks."""
    error = _refusal(body)
    assert (error.code, said in error.message) == (code, True), error


def test_header_that_does_not_fit():
    """Columns that the schema does not have, and ones that it needs, are all named."""
    error = _refusal(b"note,more\nx,1\n")
    assert error.code == "invalid_rows"
    assert [(p.column, p.got) for p in error.details] == [("more", "more"), ("id", "absent")]


CELLS = {
    "int": "1 -1 +7 007 3.0 1e3 1_000 ١ 9223372036854775807 9223372036854775808 - +- 1-2 NaN 0x1 1.5 --1",
    "float": "1 -1. +.5 1e5 1e-400 1e400 nan inf -Infinity 1_0 . - 1.2.3 ١ 5- 1e 0.1 "
    "12345678901234567890123456789012345678901234567890",
    "bool": "true FALSE t f 1 0 yes No y 2 truee",
    "date": "2024-02-29 2023-02-29 0001-01-01 2024-1-1 20240101",
    "timestamp": "2024-01-01T00:00:00Z 2024-01-01T00:00:00 2024-01-01T24:00:00Z 2024-01-01T00:00:00.1234567+02:00",
    "text": "a ä \\N \0 a\0b " + "x" * 70_000,
    "category": "a ä " + "x" * 256 + " " + "x" * 257 + " " + "ä" * 129,
}


@pytest.mark.parametrize("kind", sorted(CELLS))
@pytest.mark.parametrize("nullable", [True, False])
def test_columns_pass_as_cells_do(kind, nullable):
    """Checking a block accepts and rejects what checking its cells one by one does, and keeps their values."""
    column = Column("c", kind, nullable=nullable)
    checker = BlockChecker([Column("n", "int"), column])
    every = [*CELLS[kind].split(" "), "", " 1 "]
    rng = random.Random(1)  # noqa: S311 - repeatable on purpose
    for _ in range(200):
        cells = [rng.choice(every) for _ in range(rng.randrange(1, 5))]
        checked = checker.check(Block(written([[str(n), cell] for n, cell in enumerate(cells)]), 1))
        alone = [parse_text(column, cell) for cell in cells]
        bad = {number for number, (_, expected) in enumerate(alone) if expected is not None}
        assert {(p.row or 0) - 1 for p in checked.problems} == bad, cells
        assert (checked.rows, checked.rejected) == (len(cells), len(bad))
        kept = {int(number or 0): cell for number, cell in csv_records(checked.data)}
        assert kept.keys() == set(range(len(cells))) - bad
        for number, cell in kept.items():
            assert parse_text(column, cell or "")[0] == alone[number][0], (cells[number], cell)
