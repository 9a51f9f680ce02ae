"""Blocks of CSV records against a schema: whole columns at the speed of memory, doubtful cells one by one.

pyarrow reads the block into typed columns. Where it accepts exactly what :func:`trainyard.schema.parse_text` accepts,
the block is clean and goes on as it came. In any doubt the block is read again as text, the cells that are not plainly
right are judged by ``parse_text``, the rows of bad ones are cut out, and good ones in a spelling that Postgres reads
otherwise, or not at all, are written anew.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from trainyard.contracts.warehouse import MAX_REJECTS_KEPT
from trainyard.errors import Problem
from trainyard.schema import MAX_CATEGORY_BYTES, MAX_TEXT_BYTES, parse_text, shown
from trainyard_ingest.domain.csv_blocks import not_utf8, refuse_ragged, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from trainyard.schema import Column
    from trainyard_ingest.domain.csv_blocks import Block

    #: column, rows, what was expected there
    _Reason = tuple[int, npt.NDArray[np.uint64], str]

_TRUE = ["true", "True", "TRUE", "1", "t", "T", "yes", "Yes", "YES"]
_FALSE = ["false", "False", "FALSE", "0", "f", "F", "no", "No", "NO"]
_TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.string(),  # its separators are looked at before it is cast
    "text": pa.string(),
    "category": pa.string(),
}
_MOST_BYTES = {"text": MAX_TEXT_BYTES, "category": MAX_CATEGORY_BYTES}
#: Cells that are right for certain and that Postgres reads as the schema does.
_PLAIN = {
    "int": r"^[+-]?[0-9]{1,18}$",
    "float": r"^[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})$",
}
#: Spellings of right cells that Postgres reads as the schema does; other right cells are written anew.
_SAME_IN_POSTGRES = {
    "bool": re.compile("|".join(_TRUE + _FALSE)),
    "date": re.compile(r"[0-9-]{10}"),
    "timestamp": re.compile(
        r"[0-9-]{10}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)"
    ),
}
_DATES = (date(1, 1, 1), date(9999, 12, 31))
_SECOND = 1_000_000
_TIMES = tuple(
    int((datetime(*moment) - datetime(1970, 1, 1)).total_seconds()) * _SECOND  # noqa: DTZ001 - UTC, as a difference
    for moment in ((1, 1, 2), (9999, 12, 30))
)
_HOUR_COLON = 13
_FAR_OFFSET = r"[+-](?:1[6-9]|2[0-9])(?::?[0-9]{2})?$"
_BEFORE_A_NUMBER = np.frombuffer(b',\n" \t+-', np.uint8)
_LOWER = 0x20  # what tells a small letter from a capital one
#: Where the smallest numbers may hide, which Postgres calls out of range and the schema zero.
_TINY = re.compile(rb"[eE]-|\.0{250}")


@dataclass(frozen=True)
class CheckedBlock:
    """``data``: the good records; ``problems`` of the first rejected ones count rows within the block, from 1."""

    data: bytes
    rows: int
    rejected: int
    problems: Iterable[Problem] = ()


class BlockChecker:
    """Checks blocks whose records have a cell for each of ``columns``."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._names = [str(number) for number in range(len(columns))]
        self._typed = {n: _TYPES[c.type] for n, c in zip(self._names, columns, strict=True)}
        self._texts: dict[str, Any] = dict.fromkeys(self._names, pa.string())
        self._kinds = {column.type for column in columns}

    def check(self, block: Block) -> CheckedBlock:
        """Check every cell.

        Raises:
            ServiceError: ``bad_csv``: a record has too few or too many cells, or the block is not UTF-8.
        """
        data = block.data
        table = self._read(block, self._typed)
        if table is not None and not self._doubtful(table, data):
            return CheckedBlock(data, table.num_rows, 0)
        table = self._read(block, self._texts)
        if table is None:
            self._refuse(block)
        return self._judged(block, table)

    # --- reading ---

    def _read(self, block: Block, types: dict[str, Any]) -> Any:
        """Return the block as a table of one chunk, None when pyarrow refuses it."""
        data = block.data
        try:
            return arrow_csv.read_csv(
                pa.BufferReader(data),
                arrow_csv.ReadOptions(column_names=self._names, use_threads=False, block_size=len(data) + 1),
                arrow_csv.ParseOptions(newlines_in_values=block.quoted),
                arrow_csv.ConvertOptions(
                    column_types=types,
                    null_values=[""],
                    strings_can_be_null=True,
                    true_values=_TRUE,
                    false_values=_FALSE,
                ),
            )
        except pa.ArrowInvalid:
            return None

    def _refuse(self, block: Block) -> None:
        """Say what is wrong with a block whose records cannot even be told apart into cells of text."""
        try:
            text = block.data.decode()
        except UnicodeDecodeError as e:
            raise not_utf8(block.data, block.lines_before, e) from e
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        first = block.lines_before + 1
        refuse_ragged(records, len(self._columns), first, block.lines_before + block.data.count(b"\n"))

    # --- whole columns ---

    def _doubtful(self, table: Any, data: bytes) -> bool:
        """Tell whether any column may hold a cell that the schema, or Postgres, reads otherwise than pyarrow."""
        if "int" in self._kinds and _may_be_hexadecimal(data):
            return True  # which Arrow and Postgres read
        if self._kinds & _MOST_BYTES.keys() and b"\0" in data:
            return True
        columns = zip(self._columns, table.columns, strict=True)
        return any(
            (not column.nullable and values.null_count) or _DOUBTS[column.type](column, values, data)
            for column, values in columns
            if len(values)
        )

    # --- doubtful cells ---

    def _judged(self, block: Block, table: Any) -> CheckedBlock:
        bad = np.zeros(table.num_rows, np.bool_)
        reasons: list[_Reason] = []
        anew: dict[int, dict[int, str]] = defaultdict(dict)  # row -> {column: text}
        for number, (column, values) in enumerate(zip(self._columns, table.columns, strict=True)):
            for rows, text, expected in _verdicts(column, values):
                if expected is not None:
                    bad[rows] = True
                    reasons.append((number, rows, expected))
                else:
                    for row in rows.tolist():
                        anew[row][number] = text
        rejected = int(bad.sum())
        data = _rewritten(block, table, bad, anew) if rejected or anew else block.data
        return CheckedBlock(data, table.num_rows, rejected, self._problems(table, bad, reasons))

    def _problems(self, table: Any, bad: npt.NDArray[np.bool_], reasons: list[_Reason]) -> Iterator[Problem]:
        """Yield the problems of the first bad rows, by row and column: no more of them than are ever kept."""
        shown_rows = np.flatnonzero(bad)[:MAX_REJECTS_KEPT]
        if len(shown_rows) == 0:
            return
        found = sorted(
            (row, number, expected)
            for number, rows, expected in reasons
            for row in rows[rows <= shown_rows[-1]].tolist()
        )
        for row, number, expected in found:
            got = table.column(number)[row].as_py() or ""
            yield Problem(row + 1, self._columns[number].name, expected, shown(got))


def as_text(value: Any, *, missing: str) -> str:
    """Return a clean value in the text form of :class:`trainyard.contracts.warehouse.Rows`."""
    if isinstance(value, str):
        return value
    if value is None:
        return missing
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, date | datetime):
        return value.isoformat()
    return repr(value)


def _verdicts(column: Column, values: Any) -> Iterator[tuple[npt.NDArray[np.uint64], str, str | None]]:
    """Yield rows whose cell is bad, with what was expected, or is to be written anew, with the text."""
    texts = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    if not column.nullable and texts.null_count:
        yield _places(pc.is_null(texts)), "", parse_text(column, "")[1]
    doubtful = _not_plain(column, texts)
    if len(doubtful) == 0:
        return
    coded = pc.dictionary_encode(texts.take(pa.array(doubtful)))
    codes = np.frombuffer(coded.indices.buffers()[1], np.int32)[: len(coded)]
    same = _SAME_IN_POSTGRES.get(column.type)
    for code, cell in enumerate(coded.dictionary.to_pylist()):
        value, expected = parse_text(column, cell)
        text = as_text(value, missing="")
        if expected is None and (text == cell or (same is not None and same.fullmatch(cell))):
            continue
        yield doubtful[codes == code], text, expected


def _not_plain(column: Column, texts: Any) -> npt.NDArray[np.uint64]:
    """Return the rows whose cell is not plainly right; missing cells are no longer of interest."""
    if column.type in _PLAIN:
        plain = pc.match_substring_regex(texts, _PLAIN[column.type])
    elif column.type in _MOST_BYTES:
        short = pc.less_equal(pc.binary_length(texts), _MOST_BYTES[column.type])
        plain = pc.and_(short, pc.invert(pc.match_substring(texts, "\0")))
    else:
        return _places(pc.is_valid(texts))
    return _places(pc.invert(plain))


def _places(mask: Any) -> npt.NDArray[np.uint64]:
    """Return where a mask is true."""
    # Not by to_numpy(), which imports pandas wherever that is installed.
    found = pc.indices_nonzero(mask)
    return np.frombuffer(found.buffers()[1], np.uint64)[: len(found)] if len(found) else np.empty(0, np.uint64)


def _may_be_hexadecimal(data: bytes) -> bool:
    """Tell whether ``0x`` stands anywhere where a number may begin."""
    octets = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero((octets | _LOWER) == ord("x"))
    marks = marks[marks > 0]
    zeros = marks[octets[marks - 1] == ord("0")] - 1
    return bool((zeros == 0).any() or np.isin(octets[zeros[zeros > 0] - 1], _BEFORE_A_NUMBER).any())


def _rewritten(block: Block, table: Any, bad: npt.NDArray[np.bool_], anew: dict[int, dict[int, str]]) -> bytes:
    """Return the block without its bad records, and with the others of ``anew`` spelled as Postgres reads them."""
    ends = block.ends()
    if not anew:
        octets = np.frombuffer(block.data, np.uint8)
        return octets[np.repeat(~bad, np.diff(ends, prepend=-1))].tobytes()
    data = memoryview(block.data)
    pieces: list[bytes | memoryview] = []
    at = 0
    for row in sorted({*anew, *np.flatnonzero(bad).tolist()}):
        begin = int(ends[row - 1]) + 1 if row else 0
        pieces.append(data[at:begin])
        if not bad[row]:
            cells = [table.column(number)[row].as_py() or "" for number in range(table.num_columns)]
            pieces.append(written([[anew[row].get(number, cell) for number, cell in enumerate(cells)]]))
        at = int(ends[row]) + 1
    pieces.append(data[at:])
    return b"".join(pieces)


# --- doubts about a column as pyarrow read it: True where only the cells themselves can tell ---


def _int_doubt(_column: Column, _values: Any, _data: bytes) -> bool:
    return False  # but for hexadecimal ones, which the whole block is searched for


def _float_doubt(_column: Column, values: Any, data: bytes) -> bool:
    if not pc.all(pc.is_finite(values), min_count=0).as_py():
        return True
    return bool(pc.any(pc.equal(values, 0.0), min_count=0).as_py()) and _TINY.search(data) is not None


def _bool_doubt(_column: Column, _values: Any, _data: bytes) -> bool:
    return False


def _date_doubt(_column: Column, values: Any, _data: bytes) -> bool:
    span = pc.min_max(values)
    least, most = span["min"].cast(pa.int32()).as_py(), span["max"].cast(pa.int32()).as_py()
    if least is None:
        return False
    epoch = date(1970, 1, 1)
    return bool(least < (_DATES[0] - epoch).days or most > (_DATES[1] - epoch).days)


def _timestamp_doubt(_column: Column, values: Any, _data: bytes) -> bool:
    texts = values.chunk(0).drop_null()
    if len(texts) == 0:
        return False
    try:
        moments = pc.cast(texts, pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return True
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    octets = np.frombuffer(texts.buffers()[2], np.uint8)
    if np.diff(offsets).min() <= _HOUR_COLON or (octets[offsets[:-1] + _HOUR_COLON] != ord(":")).any():
        return True
    if (octets[offsets[1:] - 1] != ord("Z")).any() and pc.any(pc.match_substring_regex(texts, _FAR_OFFSET)).as_py():
        return True
    span = pc.min_max(pc.cast(moments, pa.int64()))
    return bool(span["min"].as_py() < _TIMES[0] or span["max"].as_py() > _TIMES[1])


def _text_doubt(column: Column, values: Any, _data: bytes) -> bool:
    longest = pc.max(pc.binary_length(values)).as_py()
    return longest is not None and longest > _MOST_BYTES[column.type]


_DOUBTS = {
    "bool": _bool_doubt,
    "int": _int_doubt,
    "float": _float_doubt,
    "date": _date_doubt,
    "timestamp": _timestamp_doubt,
    "text": _text_doubt,
    "category": _text_doubt,
}
