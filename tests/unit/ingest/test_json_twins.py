# ruff: noqa: B023 - what is made in a loop is called within the same turn of it
"""The quick reading of JSON and the exact one never differ: same rows, same values, same rejects, same refusals."""

import io
import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.ingest.reading import read

from trainyard import strict_json
from trainyard.errors import Problem, ServiceError
from trainyard.schema import Column, Schema
from trainyard_ingest.domain import formats, json_text

SCHEMA = Schema(
    [
        Column("i", "int"),
        Column("f", "float"),
        Column("b", "bool"),
        Column("t", "text"),
        Column("c", "category"),
        Column("d", "date"),
        Column("w", "timestamp"),
        Column("must", "int", nullable=False),
    ]
)
NAMES = list(SCHEMA.names)
KEYS = [*NAMES, "more", "", "\\u0069", "must ", 'q\\"', "i\\\\", "i\\u005c", 'i\\"']
VALUES = [
    "\n0",
    "-0",
    "1",
    "-1",
    "7",
    "3.0",
    "-3.0",
    "2.5",
    "1e2",
    "1E+2",
    "1e-2",
    "1e999",
    "-1e999",
    "1e-999",
    "5e-324",
    "1e308",
    "1.7976931348623157e308",
    "1.7976931348623159e308\n9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "9.2e18",
    "9.3e18\n9223372036854775807.0",
    "9223372036854774784.0",
    "12345678901234567890",
    "123456789012345678901234567890",
    "0.1",
    "-0.0",
    "0e5",
    "00",
    "01",
    "1.",
    ".5",
    "+1\n0x10",
    "1_0",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "null",
    "true",
    "false",
    "True",
    "None",
    "tru",
    '""',
    '"x"',
    '"1"',
    '"1.5"',
    '"true"',
    '"null"',
    "[]",
    "[1]",
    "{}",
    '{"a":1}\n"2024-02-29"',
    '"2023-02-29"',
    '"2024-2-1"',
    '"0000-01-01"',
    '"9999-12-31"',
    '"2024-01-01T00:00:00Z"',
    '"2024-01-01t00:00:00z"\n"2024-01-01T00:00:00"',
    '"2024-01-01T24:00:00Z"',
    '"2024-01-01T00:00:60Z"',
    '"2024-01-01T00:00:00+01:00"',
    '"2024-01-01T00:00:00+0100"\n"2024-01-01T00:00:00-23:59"',
    '"2024-01-01T00:00:00.123456789Z"',
    '"2024-01-01T00:00Z"',
    '"0001-01-01T00:00:00+01:00"\n"1969-12-31T23:59:59.9999999Z"',
    '"\\u0000"',
    '"a\\u0000b"',
    '"\\ud800"',
    '"\\udc00"',
    '"\\ud83d\\ude00"',
    '"\\ud83d\\u0041"',
    '"\\x"',
    '"\\/"',
    '"\\""\n"\\":"',
    '"a\\":b"',
    '"}"',
    '"{"',
    '"},{"',
    '"a"',
    ":",
    '"b"',
    '"\\\\"',
    '"\\\\\\""',
    '"é"',
    '"😀"',
    '"\x7f"',
    '"tab\tin"',
    '"\\."',
    '"a,b"',
    "'a'",
    "//",
    "/**/\n",
]
VALUES = [value for line in VALUES for value in line.split("\n") if value] + [
    '"a : b"',
    '"a\\" :b"',
    '"\\\\\\":"',
    '"\\\\":',
    '":"',
    '" :x"',
    '"a" ',
    '"line\nbreak"',
    '"cr\rin"',
]


def _text(size, long):
    return json.dumps("é" * (size // 2) if long else "x" * size)


VALUES += [_text(size, long) for size in (256, 257, 258, 65_536, 65_537, 65_538) for long in (False, True)]
#: A row that names every column.
FULL = b'{"must": 0, "i": 1, "f": 2, "b": true, "t": "x", "c": "y", "d": "2024-02-29", "w": null}'
SPACES = ["", "", "", "", " ", "\t", "  ", "\r", "\n", "\v", "\0", "\u00a0"]


def _clean(rows):
    """Return rows in a form that tells -0.0 from 0.0 and compares NaN."""
    return [[(v, math.copysign(1, v)) if isinstance(v, float) else v for v in row] for row in rows]


def _exact_lines(body):
    """Read NDJSON as its description says: each line by strict_json, each row by the schema."""
    good, rows, problems = [], 0, []
    for line in body.split(b"\n"):
        if not line or line.isspace():
            continue
        value = strict_json.loads(line)
        rows += 1
        clean, found = SCHEMA.check_rows([value])
        problems += [Problem(rows, p.column, p.expected, p.got) for p in found]
        if clean[0] is not None:
            good.append(list(clean[0].values()))
    return _clean(good), rows, problems


def _outcome(work):
    try:
        return work()
    except ServiceError as e:
        return e.code.replace("json_limit", "bad_json").replace("empty_body", "bad_json")


def _read(body, kind):
    rows, tally = read(body, kind, SCHEMA)
    return _clean(rows), tally.rows, tally.problems


def _array_of(body):
    """Return the lines of an NDJSON body as an array."""
    return b"[" + b",".join(line for line in body.split(b"\n") if line and not line.isspace()) + b"]"


def _exact_array(body):
    value = strict_json.loads(body)
    assert isinstance(value, list)
    clean, problems = SCHEMA.check_rows(value)
    return _clean(list(row.values()) for row in clean if row is not None), len(value), problems


@st.composite
def _objects(draw, *, full):
    """Return the text of something that is, or nearly is, a row; ``full``: most of them name every column."""
    space = st.sampled_from(SPACES)
    members = draw(st.lists(st.tuples(st.sampled_from(NAMES * 8 + KEYS), st.sampled_from(VALUES)), max_size=9))
    if draw(st.integers(0, 3)):
        members = [*dict(members).items()]
    if draw(st.integers(0, 5)):
        members.append(("must", "1")) if "must" not in dict(members) else None
    if full and draw(st.integers(0, 9)):
        members += [(name, "null") for name in NAMES if name not in dict(members)]
    parts = [f'{draw(space)}"{key}"{draw(space)}:{draw(space)}{value}{draw(space)}' for key, value in members]
    text = "{" + ",".join(parts) + "}"
    if draw(st.integers(0, 30)) == 0:
        text = draw(
            st.sampled_from(
                ["null", "5", "[]", '"x"', text + text, text + ",", text[:-1], "\ufeff" + text, text + " null"]
            )
        )
    return text.encode()


@st.composite
def _bodies(draw):
    rows = draw(st.lists(_objects(full=draw(st.booleans())), min_size=1, max_size=6))
    # Most rows must be good or no body would be read to its end.
    rows = [row for row in rows if draw(st.integers(0, 2)) == 0 or _loads(row)] or [b'{"must": 1}']
    body = draw(st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\n \n"])).join(rows)
    if draw(st.integers(0, 20)) == 0 and body:
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + draw(st.binary(min_size=1, max_size=2)) + body[at + 1 :]
    return body + draw(st.sampled_from([b"", b"\n", b"\r\n"]))


def _loads(row):
    try:
        strict_json.loads(row)
    except ServiceError:
        return False
    return b"\n" not in row


@settings(deadline=None)
@given(_bodies())
@example(b'{"must": 1}null{"must": 2}')
@example(b'{"must":\n1}\n{"must": 2}')
@example(b'{"must": 1, "must": 2}\n{"i": 5}')
@example(b'{"must": 1, "i" :1, "i":2, "t": "\\":"}\n{"must": 2}')
@example(b'{"must": 1}\r{"must": 2}\n')
@example(FULL + b"\n" + FULL.replace(b'"i": 1', b'"f": 1'))
@example(FULL + b"\n" + FULL.replace(b'"i": 1', b'"f" : 1'))
@example(FULL + b"\n" + FULL.replace(b'"i": 1', b'"\\u0066": 1'))
@example(FULL + b"\n" + FULL.replace(b"}", b', "f": 1}'))
@example(FULL + b"\n" + FULL.replace(b"}", b', "i": 1}') + b"\n" + FULL.replace(b', "f": 2', b""))
@example(FULL + b"\n" + FULL.replace(b'"t"', b'"\\":"') + b"\n" + FULL.replace(b'"x"', b'"\\":"'))
def test_lines(body):
    """NDJSON in pieces is read as each line by itself."""
    assert _outcome(lambda: _read(body, formats.NDJSON)) == _outcome(lambda: _exact_lines(body))


@settings(deadline=None)
@given(_bodies())
@example(b'{"must": 1, "t": "},{"}\n{"must": 2}')
@example(b'{"must": 1, "more": [{},{}]}\n{"must": 2}')
@example(b'{"must": 1},\n{"must": 2}')
@example(b'{"must": 1}]\n[{"must": 2}')
def test_arrays(body):
    """An array in pieces is read as the whole document at once."""
    array = _array_of(body)
    assert _outcome(lambda: _read(array, formats.JSON)) == _outcome(lambda: _exact_array(array))


@pytest.mark.parametrize("key", NAMES)
def test_each_value_in_each_column(key):
    """Every strange value in every column is judged alike, alone and among good rows."""
    for value in VALUES:
        row = f'{{"must": 1, "{key}": {value}}}' if key != "must" else f'{{"must": {value}}}'
        good = b'{"must": 1}\n{"must": 2, "i": 3}\n'
        for body in (row.encode(), good + row.encode() + b"\n" + good):
            read_lines, exact_lines = (
                _outcome(lambda: _read(body, formats.NDJSON)),
                _outcome(lambda: _exact_lines(body)),
            )
            assert read_lines == exact_lines, value
            array = _array_of(body)
            read_array, exact_array = (
                _outcome(lambda: _read(array, formats.JSON)),
                _outcome(lambda: _exact_array(array)),
            )
            assert read_array == exact_array, value


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1))
def test_numbers(number, whole):
    """Numbers are the doubles and integers that Python reads."""
    body = f'{{"must": {whole}, "f": {number!r}}}\n{{"must": 1, "f": {whole}}}\n'.encode()
    rows, _ = read(body, formats.NDJSON, SCHEMA)
    assert _clean(rows) == _exact_lines(body)[0]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_however_the_body_is_cut(size, monkeypatch):
    """Blocks of any size and pieces of any size give the same rows and the same refusals."""
    monkeypatch.setattr(json_text, "_PIECE_BYTES", 40)

    class Dripping(io.BytesIO):
        def read(self, _size=-1):
            return super().read(size)

    rows = [f'{{"must": {n}, "t": "a\\"}},{{b{n}"}}' for n in range(12)]
    for body, kind in (("\n".join(rows), formats.NDJSON), ('{"rows" : [\n' + " , ".join(rows) + "]} ", formats.JSON)):
        values, tally = read(Dripping(body.encode()), kind, SCHEMA)
        assert [row[7] for row in values] == list(range(12))
        assert values[3][3] == 'a"},{b3'
        assert tally.rows == 12
        for cut in range(len(body) - 3):
            outcome = _outcome(lambda: read(Dripping(body[:cut].encode()), kind, SCHEMA)[1].rows)
            assert outcome in ({"bad_json"} | set(range(12)) if kind is formats.NDJSON else {"bad_json", "bad_request"})
