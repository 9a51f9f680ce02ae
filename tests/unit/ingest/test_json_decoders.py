"""Keys are counted, and rows become columns, whatever is in their texts."""

import json

import pytest
from tests.unit.ingest.reading import read

from trainyard.schema import Column, Schema
from trainyard_ingest.domain import formats
from trainyard_ingest.domain.json_decoders import Decoders, most_keys

SCHEMA = Schema([Column("a", "text"), Column("b", "int"), Column("c", "float", nullable=False)])


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (b"", 0),
        (b"{}", 0),
        (b'{"c":1}', 1),
        (b'{"c":1,"c":2}', 2),
        (b'{"c" :1,"c"\t\r\n :2, "b": 3}', 3),
        (rb'{"a":"\":","c":1}', 2),
        (rb'{"a":"\\","c":1}', 2),
        (rb'{"a":"\\\":\\","c":1}', 2),
        (rb'{"a":"\" : \\\" :","c" :1}', 2),
        (b'{"a":"x : ","c":1}', 2),
        (rb'{"\u0061":"x","c":1}', 2),
        (b'{"a":":","c":1}', 3),
        (b'{"a":" :","c":1}', 3),
    ],
)
def test_keys_are_counted(text, keys):
    """Each key once, with blanks before its colon or none; beside them only texts that begin with a colon."""
    assert most_keys(text) == keys


def test_columns_of_rows():
    """Values come by column, absent ones as None and counted, from rows that name every column and from others."""
    decoders = Decoders(SCHEMA)
    full, some = b'{"c":1,"b":null,"a":"x"}\n', b'{"c":2.5}\n'
    assert decoders.columns(decoders.lines(full * 2)) == ([["x", "x"], [None, None], [1.0, 1.0]], 0)
    assert decoders.columns(decoders.lines(full + some)) == ([["x", None], [None, None], [1.0, 2.5]], 2)
    assert decoders.columns([decoders.row("y", 7, 0.5), decoders.alone(some)]) == (
        [["y", None], [7, None], [0.5, 2.5]],
        2,
    )
    assert decoders.columns([]) == ([[], [], []], 0)


@pytest.mark.parametrize(
    "text", [b'{"c":null}', b'{"b":1}', b'{"c":"1"}', b'{"c":1,"d":1}', b"null", b"{", b'{"c":1}\xff']
)
def test_what_is_not_read(text):
    """Rows that the schema refuses, or that are no JSON, are left to others."""
    decoders = Decoders(SCHEMA)
    assert decoders.alone(text) is None
    assert decoders.lines(b'{"c":1}\n' + text) is None
    assert decoders.array(b'[{"c":1},' + text + b"]") is None


def test_names_with_quotes_and_backslashes():
    """Columns may be named so: their rows are read one by one, and a key that stands twice is still found."""
    names = ['q"', "b\\", "d.o.t", "é", "plain"]
    schema = Schema([Column(name, "int") for name in names])
    assert Decoders(schema).alone(b"{}") is None
    row = dict(zip(names, range(5), strict=True))
    body = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for ascii_only in (True, False)).encode()
    values, tally = read(body, formats.NDJSON, schema)
    assert (values, tally.rejected) == ([[0, 1, 2, 3, 4]] * 2, 0)


def test_rows_in_doubt_do_not_take_others_with_them():
    """A few odd rows among thousands are judged by themselves; the rest is as it is without them."""
    good = [{"a": f"t{n}", "b": n, "c": n / 2} for n in range(3_000)]
    lines = [json.dumps(row) for row in good]
    lines[10] = '{"a": "once", "b": 1, "c": "1"}'
    lines[20] = '{"a": "nul\\u0000", "b": 1, "c": 1}'
    lines[30] = '{"a": "t30", "b" : 30.0, "c": 15}'
    lines[40] = '{"c": 40, "d": 1}'
    values, tally = read("\n".join(lines).encode(), formats.NDJSON, SCHEMA)
    assert values == [list(row.values()) for number, row in enumerate(good) if number not in (10, 20, 40)]
    assert [(p.row, p.column) for p in tally.problems] == [(11, "c"), (21, "a"), (41, "d")]
