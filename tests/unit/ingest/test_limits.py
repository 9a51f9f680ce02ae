"""Limits of bodies: at the limit a body is read, beyond it it is refused by name, and memory stays flat either way."""

import json
import subprocess
import sys
import textwrap

import pytest
from tests.unit.ingest.reading import read

from trainyard.errors import ServiceError
from trainyard.schema import MAX_COLUMNS, Column, Schema
from trainyard_ingest.domain import formats, limits
from trainyard_ingest.domain.csv_blocks import MAX_CELL_CHARS, MAX_LINE_BYTES

SCHEMA = Schema([Column("a", "text"), Column("b", "text")])


def _outcome(body, kind, schema=SCHEMA):
    """Return how many rows were read and rejected, or the code of the refusal."""
    try:
        tally = read(body, kind, schema)[1]
    except ServiceError as e:
        return e.code
    return tally.rows, tally.rejected


OVER = pytest.mark.parametrize("over", [-1, 0, 1])


@OVER
@pytest.mark.parametrize("quoted", [False, True])
def test_csv_cell(over, quoted):
    """A cell may be long, though no column takes so long a text: its row is rejected; a longer one refuses the body."""
    cell = "x" * (MAX_CELL_CHARS + over)
    body = f'a,b\n"{cell}",y\n' if quoted else f"a,b\n{cell},y\n"
    assert _outcome(body.encode() + b"1,2\n" * 30, formats.CSV) == ("csv_limit" if over > 0 else (31, 1))


@OVER
def test_csv_line(over):
    """A line may have 1 MiB."""
    schema = Schema([Column(f"c{n}", "text") for n in range(20)])
    cells = ["x" * (MAX_LINE_BYTES // 20 - 1)] * 19
    cells.append("y" * (MAX_LINE_BYTES + over - 19 - sum(map(len, cells))))
    line = ",".join(cells)
    assert len(line) == MAX_LINE_BYTES + over
    body = (",".join(schema.names) + "\n" + line + "\n").encode()
    assert _outcome(body, formats.CSV, schema) == ("csv_limit" if over > 0 else (1, 0))


@OVER
def test_csv_columns(over):
    """A header may have 1,500 columns."""
    schema = Schema([Column(f"c{n}", "int") for n in range(MAX_COLUMNS)])
    names = [f"c{n}" for n in range(MAX_COLUMNS + over)]
    body = (",".join(names) + "\n" + ",".join("1" for _ in names) + "\n").encode()
    assert _outcome(body, formats.CSV, schema) == ("csv_limit" if over > 0 else (1, 0))


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"a,b\n\xff,1\n", "bad_csv"),
        (b"a,b\n1\n", "bad_csv"),
        (b"a,b\n1,2,3\n", "bad_csv"),
        (b"a,b\n" + b"1,2\n" * 30 + b"x\0y,1\n", (31, 1)),
        (b"\xef\xbb\xbfa,b\n1,2\n", (1, 0)),
        (b"\xff\xfea\0,\0b\0\n\0", "bad_csv"),
        (b'a,b\n"' + b"x" * (3 << 20), "csv_limit"),
    ],
)
def test_csv_that_is_none(body, outcome):
    """NUL rejects a row; ragged rows, other encodings and endless quotes refuse the body; a byte order mark is fine."""
    assert _outcome(body, formats.CSV) == outcome


@OVER
@pytest.mark.parametrize("kind", [formats.NDJSON, formats.JSON])
def test_json_row(kind, over):
    """A line or a row of an array may have 1 MiB; texts within may be longer than a column takes."""
    row = b'{"a": "%b"}' % (b"x" * (limits.MAX_JSON_ROW_BYTES + over - 9))
    good = b'{"a": "y"}'
    body = b"\n".join([good] * 30 + [row]) if kind is formats.NDJSON else b"[" + b",".join([good] * 30 + [row]) + b"]"
    assert len(row) == limits.MAX_JSON_ROW_BYTES + over
    assert _outcome(body, kind) == ("json_limit" if over > 0 else (31, 1))


@OVER
@pytest.mark.parametrize("kind", [formats.NDJSON, formats.JSON])
def test_json_text(kind, over):
    """A text may have 64 KiB; a longer one rejects its row."""
    row = json.dumps({"a": "x" * (65_536 + over)}).encode()
    assert _outcome(row if kind is formats.NDJSON else b"[" + row + b"]", kind) == (1, int(over > 0))


@OVER
@pytest.mark.parametrize("kind", [formats.NDJSON, formats.JSON])
def test_json_keys(kind, over):
    """A row may have 2,000 keys; those that are no columns reject it, more refuse the body."""
    row = json.dumps({f"k{n}": n for n in range(limits.MAX_JSON_KEYS + over)}).encode()
    body = row if kind is formats.NDJSON else b"[" + row + b"]"
    assert _outcome(body, kind) == ("json_limit" if over > 0 else (1, 1))


@OVER
def test_json_depth(over):
    """There may be 16 levels, those around the rows included."""
    for around, kind in ((b"%b", formats.NDJSON), (b"[%b]", formats.JSON), (b'{"rows": [%b]}', formats.JSON)):
        levels = 16 + over - around.count(b"[") - around.count(b"{")
        row = b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
        assert _outcome(around % row, kind) == ("json_limit" if over > 0 else (1, 1))


@OVER
@pytest.mark.parametrize("kind", formats.FORMATS, ids=lambda kind: kind.name)
def test_body(kind, over, tmp_path):
    """Reading stops at the most bytes of a body; what was announced does not matter."""
    from dataclasses import replace  # noqa: PLC0415

    body = {
        "csv": b"a,b\n" + b"1,2\n" * 100,
        "ndjson": b'{"a": "x"}\n' * 100,
        "json": b"[" + b'{"a":"x"},' * 99 + b"{}]",
    }
    data = body.get(kind.name, b"PAR1" + b"x" * 100)
    outcome = _outcome(data, replace(kind, most_bytes=len(data) - over))
    assert outcome == "too_large" if over > 0 else outcome in {(100, 0), "bad_parquet"}


#: Format, head, what follows again and again, and how many MiB of it, where that is not 64: an empty row has all 100
#: columns, so that one MiB of them is 35 million cells.
HOSTILE = {
    "deep array": ("JSON", 'b"["', 'b"[" * 65536'),
    "deep lines": ("NDJSON", 'b"{"', 'b"[" * 65536'),
    "a string without end": ("JSON", """b'[{"a": "'""", 'b"x" * 65536'),
    "a line without end": ("NDJSON", """b'{"a": "'""", 'b"x" * 65536'),
    "numbers": ("JSON", 'b"[1"', 'b",1" * 32768'),
    "empty rows": ("JSON", 'b"[{}"', 'b",{}" * 21845', 1),
    "empty lines of rows": ("NDJSON", 'b""', 'b"{}\\n" * 21845', 1),
    "blank lines": ("NDJSON", 'b""', 'b"\\n" * 65536'),
    "spaces": ("JSON", 'b""', 'b" " * 65536'),
    "quotes": ("CSV", 'b"a,b\\n"', """b'"' * 65535"""),
    "one quote": ("CSV", """b'a,b\\n"'""", 'b"x\\n" * 32768'),
    "commas": ("CSV", 'b"a,b\\n"', 'b"," * 65536'),
    "a header without end": ("CSV", 'b""', 'b"a," * 32768'),
    "blank lines of CSV": ("CSV", 'b"a,b\\n"', 'b"\\n" * 65536'),
    "short rows": ("CSV", 'b"a,b\\n"', 'b",\\n" * 32768', 16),
    "no Parquet": ("PARQUET", 'b"PAR1"', 'b"x" * 65536'),
}
_CHILD = """
    import gzip, resource, sys
    from trainyard.errors import ServiceError
    from trainyard.schema import Column, Schema
    from trainyard_ingest.domain import formats
    from trainyard_ingest.domain.source import Source
    from trainyard_ingest.domain.tally import Tally

    SCHEMA = Schema([Column("a", "text"), Column("b", "text")] + [Column(f"c{n}", "float") for n in range(98)])

    class Stream:
        left = MIB << 20
        rest = HEAD

        def read(self, size):
            while len(self.rest) < size and self.left > 0:
                self.rest += MORE
                self.left -= len(MORE)
            block, self.rest = self.rest[:size], self.rest[size:]
            return block

    def take(stream):
        tally = Tally()
        try:
            for chunk in KIND.read(Source(stream, 1 << 40), SCHEMA, tally).chunks:
                pass
        except ServiceError as e:
            return e.code
        return f"{tally.rows} rows"

    class Short(Stream):
        left = 0

    take(Short())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = take(Stream())
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10, outcome)
"""
#: What the issue allows for bodies of any size, in MiB above the idle service.
_MOST_MIB = 110


def _child(kind, head, more, mib=64):
    code = (
        textwrap.dedent(_CHILD)
        .replace("HEAD", head)
        .replace("MORE", more)
        .replace("MIB", str(mib))
        .replace("KIND", f"formats.{kind}")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, outcome = done.stdout.split(" ", 1)
    return int(grown), outcome.strip()


@pytest.mark.parametrize("name", HOSTILE)
def test_memory_of_hostile_bodies(name):
    """64 MiB of anything take no more memory than rows of any number do."""
    grown, outcome = _child(*HOSTILE[name])
    assert grown < _MOST_MIB, outcome


def test_memory_of_gzip_bombs():
    """A bomb is found out when the first few MiB are unpacked, in flat memory."""
    bomb = "gzip.compress(b'a,b' + bytes([10]) + (b'x,y' + bytes([10])) * (16 << 20))"
    grown, outcome = _child("packed(formats.CSV)", bomb, "bytes(65536)")
    assert grown < _MOST_MIB
    assert outcome == "bomb"
