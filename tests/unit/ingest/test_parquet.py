"""Parquet bodies: which types fit which columns and how exactly, rejects, refusals, and limits of the footer."""

import datetime as dt
import io
import math
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.unit.ingest.reading import read

from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema
from trainyard.schema.values import EXPECTED, NOT_NULL
from trainyard_ingest.domain import formats, limits
from trainyard_ingest.domain.parquet_file import ParquetRows, RowReader
from trainyard_ingest.domain.source import Source

UTC = dt.UTC
DAY = dt.date(2024, 2, 29)
NOON = dt.datetime(2024, 2, 29, 12, tzinfo=UTC)


def written(table, **options):
    """Return a table, or a dictionary of arrays, as a Parquet file."""
    out = io.BytesIO()
    parquet.write_table(pa.table(table) if isinstance(table, dict) else table, out, **options)
    return out.getvalue()


def varint(number):
    """Return a number as the footer has it."""
    number, out = number << 1, bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def claiming(file, truth, claim):
    """Return the file with a number in its footer replaced by another."""
    size = int.from_bytes(file[-8:-4], "little")
    footer = file[-8 - size : -8]
    assert varint(truth) in footer
    footer = footer.replace(varint(truth), varint(claim))
    return file[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def one(kind, array, *, nullable=True):
    """Read a file of one column ``c`` as ``kind``; return values, problems (row, got), and what was expected."""
    rows, tally = read(written({"c": array}), formats.PARQUET, Schema([Column("c", kind, nullable=nullable)]))
    return [row[0] for row in rows], [(p.row, p.got) for p in tally.problems], {p.expected for p in tally.problems}


def here(kind, array):
    """Do the same without the decoder's process."""
    batch = pa.record_batch({"c": array})
    data, _, problems = RowReader(batch.schema, Schema([Column("c", kind)])).read(batch, 100)
    return data.decode().splitlines(), [(p.row, p.got) for p in problems]


def refusal(file, schema):
    """Return the refusal of a file."""
    with pytest.raises(ServiceError) as refused:
        read(file, formats.PARQUET, schema)
    return refused.value


ANY = Schema([Column("c", "int")])


@pytest.mark.parametrize(
    "array",
    [
        *(pa.array([1, None, 7], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
        *(pa.array([1, None, 7], kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
        *(pa.array([1.0, None, 7.0], kind) for kind in (pa.float32(), pa.float64())),
        pa.array([Decimal("1.00"), None, Decimal("7.00")], pa.decimal128(10, 2)),
    ],
    ids=lambda array: str(array.type),
)
@pytest.mark.parametrize("kind", ["int", "float"])
def test_numbers(kind, array):
    """Numbers of every width are numbers; whole ones are whole whatever they are kept as."""
    assert one(kind, array) == ([1, None, 7], [], set())


def test_whole_numbers_at_their_bounds():
    """64 bits with a sign hold what they hold; fractions, NaN and what is beyond are rejected row by row."""
    span = [-(2**63), 2**63 - 1]
    assert one("int", pa.array(span)) == (span, [], set())
    values, odd, expected = one("int", pa.array([2**63 - 1, 2**63, 2**64 - 1], pa.uint64()))
    assert (values, odd, expected) == ([2**63 - 1], [(2, str(2**63)), (3, str(2**64 - 1))], {EXPECTED["int"]})
    floats = [3.0, -0.0, 2.5, math.nan, math.inf, -(2.0**63), 2.0**63, 1e300]
    values, odd, _ = one("int", pa.array(floats))
    assert values == [3, 0, -(2**63)]
    assert [row for row, _ in odd] == [3, 4, 5, 7, 8]
    big = [Decimal(2**63 - 1), Decimal(2**63), Decimal("0.5"), Decimal("9007199254740993")]
    values, odd, _ = one("int", pa.array(big, pa.decimal128(38, 1)))
    assert values == [2**63 - 1, 9007199254740993]
    assert [row for row, _ in odd] == [2, 3]


def test_floats():
    """Doubles come through to the bit, single ones as the double that they are; what is not finite is rejected."""
    doubles = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e300, 2.0**53 + 2]
    values, odd, _ = one("float", pa.array([*doubles, math.nan, math.inf]))
    assert [(v, math.copysign(1, v)) for v in values] == [(v, math.copysign(1, v)) for v in doubles]
    assert odd == [(7, "nan"), (8, "inf")]
    assert one("float", pa.array([0.1], pa.float32()))[0] == [0.10000000149011612]
    assert one("float", pa.array([Decimal("0.1"), Decimal("-12.5")], pa.decimal128(5, 2)))[0] == [0.1, -12.5]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times(unit):
    """Every unit and zone is the same moment, finer than microseconds is cut, also before 1970."""
    ticks = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    moment = int(NOON.timestamp()) * ticks
    array = pa.array([moment, None, -ticks], pa.int64()).cast(pa.timestamp(unit, "America/New_York"))
    assert one("timestamp", array) == ([NOON, None, dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)], [], set())


def test_times_cut_and_out_of_range():
    """A nanosecond before 1970 is in the microsecond before; years before 1 or after 9999 are rejected."""
    assert here("timestamp", pa.array([-1, 1_999], pa.int64()).cast(pa.timestamp("ns", "UTC"))) == (
        ["1969-12-31 23:59:59.999999Z", "1970-01-01 00:00:00.000001Z"],
        [],
    )
    bounds = [-62_135_596_800, 253_402_300_799]
    array = pa.array([*bounds, bounds[0] - 1, bounds[1] + 1, 2**45], pa.int64()).cast(pa.timestamp("s", "UTC"))
    values, odd, expected = one("timestamp", array)
    assert values == [dt.datetime(1, 1, 1, tzinfo=UTC), dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
    assert [row for row, _ in odd] == [3, 4, 5]
    assert expected == {EXPECTED["timestamp"]}
    assert f"{2**45 * 1_000} ms since 1970" in odd[2][1]


def test_dates():
    """Days of the calendar from year 1 to 9999."""
    assert one("date", pa.array([DAY, None])) == ([DAY, None], [], set())
    days = pa.array([-719_162, 2_932_896, -719_163, 2_932_897], pa.int32()).cast(pa.date32())
    assert here("date", days) == (
        ["0001-01-01", "9999-12-31"],
        [(3, "-719163 days since 1970"), (4, "2932897 days since 1970")],
    )
    assert here("date", pa.array([DAY], pa.date64())) == (["2024-02-29"], [])


@pytest.mark.parametrize("kind", ["text", "category"])
@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_texts(kind, type_):
    """Texts come through as they are, up to their limit in bytes; NUL is rejected, the empty text is one."""
    most = 65_536 if kind == "text" else 256
    good = ["", "a,b", 'q"', "line\nbreak\r", "\\.", "é" * (most // 2), " ", "NA"]
    values, odd, _ = one(kind, pa.array([*good, "x" * (most + 1), "é" * (most // 2) + "x", "\0", None], type_))
    assert values == [*good, None]
    assert [row for row, _ in odd] == [9, 10, 11]


def test_dictionaries_and_other_texts():
    """A dictionary of texts is texts; texts may be dates and times as in JSON, and never numbers."""
    assert one("category", pa.array(["x", None, "x"]).dictionary_encode()) == (["x", None, "x"], [], set())
    assert one("date", pa.array(["2024-02-29", "2023-02-29"]))[:2] == ([DAY], [(2, "2023-02-29")])
    assert one("timestamp", pa.array(["2024-02-29T13:00:00+01:00", "2024-02-29T12:00:00"]))[:2] == (
        [NOON],
        [(2, "2024-02-29T12:00:00")],
    )
    assert one("bool", pa.array([True, None, False])) == ([True, None, False], [], set())


def test_bytes_that_are_not_utf8():
    """They are rejected by row; Parquet's readers do not look."""
    bad = pa.array([b"ok", b"\xff", None, b"\xed\xa0\x80"]).view(pa.string())
    assert here("text", bad) == (["ok", ""], [(2, "bytes that are not UTF-8"), (4, "bytes that are not UTF-8")])


def test_missing():
    """Null is missing, in a column of nulls too; where a value is needed the row is rejected."""
    assert one("int", pa.nulls(2)) == ([None, None], [], set())
    assert one("text", pa.array(["a", None]), nullable=False) == (["a"], [(2, "null")], {NOT_NULL})


def test_columns_by_name():
    """Columns come in any order, nullable ones may be absent; unknown, needed and doubled ones refuse the file."""
    schema = Schema([Column("a", "int", nullable=False), Column("b", "text"), Column("c", "float")])
    assert read(written({"c": [1.5], "a": [1]}), formats.PARQUET, schema)[0] == [[1, None, 1.5]]
    error = refusal(written({"b": ["x"], "more": [1]}), schema)
    assert error.code == "invalid_rows"
    assert [(p.row, p.column, p.expected) for p in error.details] == [
        (None, "more", "a column of the schema"),
        (None, "a", "the column to be present"),
    ]
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert refusal(written(twice), schema).code == "invalid_rows"


REFUSED_TYPES = [
    ("timestamp", pa.array([1], pa.timestamp("us")), "without a zone"),
    ("date", pa.array([1], pa.timestamp("us", "UTC")), "timestamp"),
    ("int", pa.array(["5"]), "string"),
    ("text", pa.array([5]), "int64"),
    ("bool", pa.array([1]), "int64"),
    ("int", pa.array([True]), "bool"),
    ("text", pa.array([b"x"]), "binary"),
    ("text", pa.array([[1]]), "nested type list"),
    ("text", pa.array([{"a": 1}]), "nested type struct"),
    ("int", pa.array([1], pa.time32("s")), "time32"),
    ("int", pa.array([1], pa.duration("s")), "duration"),
    ("text", pa.array([b"x" * 16], pa.binary(16)), "fixed_size_binary"),
    ("text", pa.array(["{}"]).cast(pa.json_(pa.string())), "extension type arrow.json"),
]


@pytest.mark.parametrize(("kind", "array", "said"), REFUSED_TYPES, ids=lambda value: str(value)[:20])
def test_types_that_do_not_fit(kind, array, said):
    """The file is refused with the column, what it takes and what came, before any page is read."""
    error = refusal(written({"c": array}), Schema([Column("c", kind)]))
    (problem,) = error.details
    assert (error.code, problem.row, problem.column) == ("invalid_rows", None, "c")
    assert said in problem.got, problem


def test_rejects_are_counted_over_batches():
    """Row numbers are those of the file, whatever batches it is decoded in; more problems than are kept are counted."""
    count = 30_000
    values = [math.nan if n % 2 else float(n) for n in range(count)]
    rows, tally = read(written({"c": values}, row_group_size=7_000), formats.PARQUET, Schema([Column("c", "float")]))
    assert (len(rows), tally.rows, tally.rejected, len(tally.problems)) == (count // 2, count, count // 2, 10_000)
    assert [p.row for p in tally.problems] == list(range(2, 20_002, 2))


def test_files_that_are_none():
    """What is cut, damaged, encrypted or something else is refused by name."""
    file = written({"c": list(range(1_000))}, write_page_checksum=True)
    cases = {
        b"": "empty_body",
        b"PAR1": "bad_parquet",
        b"PAR1PAR1": "bad_parquet",
        b"c\n1\n": "bad_parquet",
        file[:-1]: "bad_parquet",
        file[: len(file) // 2]: "bad_parquet",
        file[1:]: "bad_parquet",
        b"PARE" + file[4:]: "bad_parquet",
        file[:-4] + b"PARE": "bad_parquet",
        file[:-8] + b"\xff\xff\xff\x7fPAR1": "parquet_limit",
        file[:-8] + len(file).to_bytes(4, "little") + b"PAR1": "bad_parquet",
        file[:-8] + bytes(4) + b"PAR1": "bad_parquet",
    }
    for body, code in cases.items():
        assert refusal(body, ANY).code == code, body[-20:]


def test_pages_that_were_changed():
    """A checksum finds any bit of a page that is not as it was written."""
    file = bytearray(written({"c": list(range(1_000))}, write_page_checksum=True, compression="none"))
    file[len(file) // 3] ^= 1
    error = refusal(bytes(file), ANY)
    assert error.code == "bad_parquet"


def test_claims_of_a_bomb():
    """Rows, bytes and ratios are believed before they are decoded, and refused."""
    file = written({"c": [7] * 12_345}, write_statistics=False)
    error = refusal(claiming(file, 12_345, 622_770_257_630_000), ANY)
    assert (error.code, "622,770,257,630,000 rows" in error.message) == ("parquet_limit", True)
    large = written({"c": ["x" * 30_000_000]}, compression="zstd", use_dictionary=False, write_statistics=False)
    error = refusal(large, Schema([Column("c", "text")]))
    assert (error.code, "times as many" in error.message) == ("parquet_limit", True)


def test_a_page_larger_than_its_claim():
    """Where the footer lies about a page, the decoder's memory ends, and nothing but the file is lost."""
    size = 300_000_000
    file = written({"c": ["x" * size]}, compression="zstd", use_dictionary=False, write_statistics=False)
    unpacked = parquet.ParquetFile(io.BytesIO(file)).metadata.row_group(0).total_byte_size
    error = refusal(claiming(file, unpacked, 1_000), Schema([Column("c", "text")]))
    assert error.code in {"parquet_limit", "bad_parquet"}


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_limits_of_the_footer(over, monkeypatch, tmp_path):
    """At each limit a file is read, one more is refused."""
    path = tmp_path / "f.parquet"
    path.write_bytes(written({f"c{n}": list(range(40)) for n in range(5)}, row_group_size=10))
    metadata = parquet.ParquetFile(path).metadata
    unpacked = sum(metadata.row_group(n).total_byte_size for n in range(4))
    cases = {"MAX_ROW_GROUPS": 4, "MAX_PARQUET_COLUMNS": 5, "MAX_ROWS": 40, "MAX_UNPACKED_BYTES": unpacked}
    for name, value in cases.items():
        with monkeypatch.context() as patched:
            patched.setattr(limits, name, value - over)
            if over <= 0:
                assert ParquetRows(str(path), path.stat().st_size).rows == 40
            else:
                with pytest.raises(ServiceError) as refused:
                    ParquetRows(str(path), path.stat().st_size)
                assert refused.value.code == "parquet_limit", name


def test_a_footer_with_too_many_entries(monkeypatch, tmp_path):
    """A list of the footer longer than the limit is refused while it is parsed."""
    path = tmp_path / "f.parquet"
    path.write_bytes(written({"c": list(range(40))}, row_group_size=1))
    monkeypatch.setattr(limits, "MAX_FOOTER_ENTRIES", 39)
    with pytest.raises(ServiceError) as refused:
        ParquetRows(str(path), path.stat().st_size)
    assert refused.value.code == "parquet_limit"


def _infer(file):
    schema = formats.infer(Source(io.BytesIO(file), formats.MAX_SAMPLE_BYTES), formats.PARQUET)
    return {column.name: column.type for column in schema.columns}


def test_infer():
    """Types of the file decide; texts are texts even where they look like numbers, and dates where they are."""
    table = {
        "i": pa.array([1, 2]),
        "u": pa.array([1, 2], pa.uint8()),
        "f": pa.array([1.0, 2.0]),
        "m": pa.array([Decimal("1.5"), None], pa.decimal128(5, 2)),
        "b": pa.array([True, False]),
        "c": pa.array(["5", "7"]),
        "n": pa.nulls(2),
        "d": pa.array([DAY, None]),
        "t": pa.array([NOON, None]),
        "s": pa.array(["2024-01-01", None]),
        "k": pa.array(["x", "x"]).dictionary_encode(),
    }
    assert _infer(written(table)) == {
        "i": "int", "u": "int", "f": "float", "m": "float", "b": "bool", "c": "category", "n": "text",
        "d": "date", "t": "timestamp", "s": "date", "k": "category",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([1.5, float("nan"), float("inf")]), "float"),
        (pa.array([0, 10**9], pa.int32()).cast(pa.date32()), "date"),
        (pa.array([0, 10**15]).cast(pa.timestamp("s", "UTC")), "timestamp"),
        (pa.array([1, 2]).cast(pa.timestamp("ns", "No/Where")), "timestamp"),
        (pa.array([2.5, 2.5]).dictionary_encode(), "float"),
        (pa.array([b"a", b"\xff\xfe"]).cast(pa.string(), safe=False), "category"),
    ],
)
def test_values_that_no_column_takes_make_no_other_type(array, kind):
    """A float column with NaN is a float column, whose NaN is rejected by its row; the same for dates, times, texts."""
    assert _infer(written({"a": array})) == {"a": kind}


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "invalid_rows"),
        ({"a": [[1]]}, "invalid_rows"),
        ({"a": pa.array([1], pa.timestamp("us"))}, "invalid_rows"),
        ({"a": pa.array([], pa.int64())}, "empty_body"),
        ({"a": [1], "A": [2]}, "invalid_schema"),
    ],
)
def test_samples_that_cannot_be_columns(table, code):
    """A sample without rows, with nested values, times without zone or impossible names is refused."""
    with pytest.raises(ServiceError) as refused:
        _infer(written(table))
    assert refused.value.code == code


def test_a_decoder_leaves_no_bytecode(tmp_path):
    """What it imports late is compiled within its limits: a file that is cut off there would break the next import."""
    (tmp_path / "large.py").write_text("\n".join(f"x{n} = {'a' * 90!r}" for n in range(3_000)))
    code = "import sys; sys.path.insert(0, sys.argv[1]); from trainyard_ingest import parquet_decoder as decoder;"
    subprocess.run(
        [sys.executable, "-I", "-c", f"{code} decoder._confine(); import large", str(tmp_path)], check=True, timeout=60
    )
    assert list(tmp_path.rglob("*.pyc")) == []
