r"""The text that COPY writes, parsed into blocks by Arrow, which holds no lock of the interpreter meanwhile.

COPY's text has a tab between cells and a line end behind a row; ``\N`` is a missing value, and in texts a tab, a line
end, a backslash and a few more are written as a backslash and a letter. So a line end always ends a row, and a text is
taken as it is written: what stands for what is looked up once for each distinct text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from trainyard.snapshot.block import Block, Whole, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.schema import Column, Schema

NULL = r"\N"
_UNESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TIME = re.compile(r"(\d{4,})-(\d\d)-(\d\d)(?: (\d\d:\d\d:\d\d(?:\.\d{1,6})?)\+00)?( BC)?", re.ASCII)
_TEXT = pa.dictionary(pa.int32(), pa.string())
_TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "category": _TEXT,
    "text": _TEXT,
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
_DAY = 86_400_000_000
#: The pool that is Arrow's default here keeps what it has had: 20 MB more than this one at the end of a reading.
_POOL = pa.system_memory_pool()
_TIMES = ("date", "timestamp")


class TextParser:
    """Parses pieces of COPY's text, whole rows of ``ingest_seq`` and the schema's columns."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._types = {"seq": pa.int64()} | {f"c{n}": _TYPES[c.type] for n, c in enumerate(schema.columns)}
        self._plain_times = {
            name: pa.string() if c.type in _TIMES else self._types[name]
            for name, c in zip([f"c{n}" for n in range(len(schema.columns))], schema.columns, strict=True)
        }

    def table(self, piece: memoryview) -> pa.Table:
        """Return the rows of a piece; times as strings where one is out of Arrow's reach (before 0001, behind 9999)."""
        try:
            return _parsed(piece, self._types)
        except pa.ArrowInvalid:
            return _parsed(piece, {"seq": pa.int64(), **self._plain_times})

    def block(self, parts: Sequence[pa.Table]) -> Block:
        """Return the rows of several tables as one block."""
        if len({part.schema for part in parts}) > 1:
            parts = [_with_plain_times(part, self._plain_times) for part in parts]
        table = pa.concat_tables(parts).unify_dictionaries(_POOL).combine_chunks(_POOL)
        seq, *columns = (column.chunk(0) for column in table.columns)
        described = zip(self._schema.columns, columns, strict=True)
        return Block(Whole(view(seq, np.int64)), tuple(_column(column, values) for column, values in described))


def view(values: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the numbers of an array, whatever they are where one is missing; ``dtype`` is its type.

    Arrow's own ``to_numpy`` imports pandas where that is installed: a second of nothing else.
    """
    size = np.dtype(dtype).itemsize
    return np.frombuffer(values.buffers()[1], dtype, len(values), values.offset * size)


def _missing(values: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Return where values are missing, None if nowhere."""
    if not values.null_count:
        return None
    bits = np.frombuffer(values.buffers()[0], np.uint8)
    there = np.unpackbits(bits, count=values.offset + len(values), bitorder="little")
    return np.equal(there[values.offset :], 0)


def _parsed(piece: memoryview, types: dict[str, pa.DataType]) -> pa.Table:
    return pc.read_csv(
        pa.py_buffer(piece),
        read_options=pc.ReadOptions(use_threads=False, block_size=len(piece) + 1, column_names=list(types)),
        parse_options=pc.ParseOptions(delimiter="\t", quote_char=False, escape_char=False, ignore_empty_lines=False),
        convert_options=pc.ConvertOptions(
            column_types=types,
            null_values=[NULL],
            strings_can_be_null=True,
            true_values=["t"],
            false_values=["f"],
            check_utf8=False,  # the session's encoding is UTF8, so the server has checked it
        ),
        memory_pool=_POOL,
    )


def _with_plain_times(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    """Write times as COPY does, where another piece has them so."""
    for name, wanted in types.items():
        found = table.column(name)
        if found.type == wanted:
            continue
        text = found.cast(pa.timestamp("us")).cast(pa.string()).to_pylist()  # 2013-01-01 10:00:00.000000
        if pa.types.is_date(found.type):
            text = [None if t is None else t.partition(" ")[0] for t in text]
        else:
            text = [None if t is None else f"{t}+00" for t in text]
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, pa.array(text, wanted))
    return table


def _column(column: Column, values: Any) -> Any:
    missing = _missing(values)
    if column.type in ("category", "text"):
        levels = [_plain(level) for level in values.dictionary.to_pylist()]
        codes = view(values.indices, np.int32) + np.int32(1)
        if missing is not None:
            codes[missing] = 0
        return words(codes, levels)
    if column.type == "float":
        floats = view(values, np.float64)
        return floats if missing is None else np.where(missing, np.nan, floats)
    if pa.types.is_string(values.type):
        numbers = [0 if text is None else _microseconds(text) for text in values.to_pylist()]
        return Whole(np.array(numbers, dtype=np.int64), missing)
    if column.type == "bool":
        return Whole(view(values.cast(pa.uint8()), np.uint8), missing)
    if column.type == "date":
        return Whole(view(values, np.int32), missing, step=_DAY)
    return Whole(view(values, np.int64), missing)


def _plain(level: str) -> str:
    if "\\" not in level:
        return level
    return _ESCAPED.sub(lambda m: _UNESCAPES.get(m[1], m[1]), level)


def _microseconds(text: str) -> int:
    """Read a date or a time in UTC of any year as Postgres writes it."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"the database sent a time that is none: {text[:40]}")
    digits, month, day, clock, before_christ = match.groups()
    year = 1 - int(digits) if before_christ else int(digits)
    # numpy's years: four digits, more with a sign.
    written = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+05d}"
    return int(np.datetime64(f"{written}-{month}-{day}T{clock or '00:00:00'}", "us").astype(np.int64))
