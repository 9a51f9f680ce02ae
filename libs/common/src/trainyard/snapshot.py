r"""A snapshot as columns: the rows of a dataset up to a sequence number, the latest of each key, and their hash.

Rows arrive as *lines*, one per row in the order of ``ingest_seq``: cells with tabs between them, as Postgres' COPY
writes them (ISO dates, UTC, floats that read back exactly) and :func:`line` writes them from Python values.

The content hash depends on the rows alone, not on how they are stored, and anybody can compute it: the SHA-256 of
:func:`header`, a line end, and the raw SHA-256 of each column, ``ingest_seq`` first, where a column's bytes are

- float: each value as a little-endian double, one NaN (0x7ff8000000000000) where missing;
- bool and int: each cell as its text (``t``, ``f``, decimal), ``\N`` where missing, each followed by a line end;
- date and timestamp: microseconds since 1970 as little-endian int64, the smallest int64 where missing;
- category and text: each cell with ``\b \f \n \r \t \v \\`` escaped, ``\N`` where missing, each followed by a line end.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.holdout import unit_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.schema import Column, Schema

FloatArray = npt.NDArray[np.float64]
NULL = r"\N"
_ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_UNESCAPES = {escaped[1]: plain for plain, escaped in _ESCAPES.items()}
_ESCAPABLE = re.compile(r"[\\\b\f\n\r\t\v]")
_ESCAPED = re.compile(r"\\(.)")
_BOOLS = {"t": 1.0, "f": 0.0, NULL: float("nan")}


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of strings: ``codes`` (rows,) int32 into ``levels``, -1 where missing."""

    codes: npt.NDArray[np.int32]
    levels: tuple[str, ...]

    def take(self, rows: npt.NDArray[Any] | slice) -> Texts:
        """Return the column of these rows, with the same levels."""
        return Texts(self.codes[rows], self.levels)

    def values(self) -> npt.NDArray[np.object_]:
        """Return the strings as an object array, None where missing."""
        table = np.array([*self.levels, None], dtype=object)
        return np.asarray(table[self.codes])


#: bool, int and float columns: float64, NaN where missing (whole numbers beyond 2^53 are rounded); date and timestamp
#: columns: datetime64[us] in UTC, NaT where missing; category and text columns: Texts.
Values = npt.NDArray[Any] | Texts


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The rows with ``ingest_seq <= upto_seq``, the latest of each key, in the order of ``ingest_seq``.

    Attributes:
        seq: shape (rows,), int64, ascending: the number of each row.
        first_seq: shape (rows,), int64: the number of the first row ever stored under the row's key; ``seq`` itself
            for a row that corrects nothing. Always ``<= seq``.
        unit: shape (rows,), uint64: hash of what must not be split (group, else key, else the row).
        columns: one entry for each column of the schema.
        sha256: hex.
    """

    schema: Schema
    upto_seq: int
    seq: npt.NDArray[np.int64]
    first_seq: npt.NDArray[np.int64]
    unit: npt.NDArray[np.uint64]
    columns: Mapping[str, Values]
    sha256: str

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.seq)


def header(schema: Schema) -> str:
    """Return the line that the content hash begins with: names and types of the columns, in order."""
    pairs = [[c.name, c.type] for c in schema.columns]
    return json.dumps(["ingest_seq", *pairs], separators=(",", ":"), ensure_ascii=True)


def line(schema: Schema, seq: int, row: Mapping[str, Any]) -> str:
    """Return a row of clean values as its line, without the line end."""
    return "\t".join([str(seq), *(_cell(row.get(c.name)) for c in schema.columns)])


def _cell(value: Any) -> str:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime):
        text = value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
        return (text.rstrip("0") if value.microsecond else text) + "+00"
    return _ESCAPABLE.sub(lambda m: _ESCAPES[m[0]], str(value))


class SnapshotBuilder:
    """Takes lines piece by piece and makes a :class:`Snapshot`; holds numbers, not text, of what it has taken."""

    def __init__(self, schema: Schema, upto_seq: int) -> None:
        self._schema = schema
        self._upto_seq = upto_seq
        self._hashes = [hashlib.sha256() for _ in range(len(schema.columns) + 1)]
        self._seq: list[npt.NDArray[np.int64]] = []
        self._first: list[npt.NDArray[np.int64]] = []
        self._unit: list[npt.NDArray[np.uint64]] = []
        self._parts: list[list[npt.NDArray[Any]]] = [[] for _ in schema.columns]
        self._levels: list[dict[str, int]] = [{} for _ in schema.columns]
        names = schema.names
        self._keys = [names.index(c.name) for c in schema.keys]
        self._group = None if schema.group is None else names.index(schema.group.name)

    def add(self, lines: Sequence[str], first_seq: Sequence[int]) -> None:
        """Take the next rows: their lines, and the first sequence number of each row's key."""
        if not lines:
            return
        numbers, *cells = zip(*(text.split("\t") for text in lines), strict=True)
        self._hashes[0].update(_cell_bytes(numbers))
        self._seq.append(np.array(numbers, dtype=np.int64))
        self._first.append(np.asarray(first_seq, dtype=np.int64))
        self._unit.append(self._units(numbers, cells))
        for index, column in enumerate(self._schema.columns):
            part = _parsed(column, cells[index], self._levels[index])
            self._parts[index].append(part)
            raw = column.type in ("float", "date", "timestamp")
            self._hashes[index + 1].update(_value_bytes(part) if raw else _cell_bytes(cells[index]))

    def build(self) -> Snapshot:
        """Return the snapshot of everything that was taken."""
        columns: dict[str, Values] = {}
        for column, parts, levels in zip(self._schema.columns, self._parts, self._levels, strict=True):
            joined = np.concatenate(parts) if parts else _parsed(column, (), levels)
            columns[column.name] = Texts(joined, tuple(levels)) if column.type in ("category", "text") else joined
        return Snapshot(
            self._schema,
            self._upto_seq,
            np.concatenate([np.empty(0, np.int64), *self._seq]),
            np.concatenate([np.empty(0, np.int64), *self._first]),
            np.concatenate([np.empty(0, np.uint64), *self._unit]),
            columns,
            self._sha256(),
        )

    def _sha256(self) -> str:
        whole = hashlib.sha256(header(self._schema).encode() + b"\n")
        for column in self._hashes:
            whole.update(column.digest())
        return whole.hexdigest()

    def _units(self, numbers: Sequence[str], cells: Sequence[Sequence[str]]) -> npt.NDArray[np.uint64]:
        """Return the unit hash of each row; a missing group or key cannot hold rows together."""
        count = len(numbers)

        def unit(row: int) -> int:
            if self._group is not None and cells[self._group][row] != NULL:
                return unit_hash("group", [self._group_text(cells[self._group][row])])
            key = [cells[k][row] for k in self._keys]
            return unit_hash("key", key) if key and NULL not in key else unit_hash("row", [numbers[row]])

        return np.fromiter((unit(row) for row in range(count)), dtype=np.uint64, count=count)

    def _group_text(self, cell: str) -> str:
        """Return a group's cell in a form that does not depend on who wrote it: floats have several."""
        group = self._schema.group
        return repr(float(cell)) if group is not None and group.type == "float" else cell


def _parsed(column: Column, cells: Sequence[str], levels: dict[str, int]) -> npt.NDArray[Any]:
    if column.type == "bool":
        return np.array([_BOOLS[cell] for cell in cells], dtype=np.float64)
    if column.type in ("int", "float"):
        return np.array(["nan" if cell == NULL else cell for cell in cells], dtype="U32").astype(np.float64)
    if column.type == "date":
        return np.array(["NaT" if c == NULL else c for c in cells], dtype="datetime64[us]")
    if column.type == "timestamp":
        return np.array(["NaT" if c == NULL else c.removesuffix("+00") for c in cells], dtype="datetime64[us]")
    return np.fromiter((_code(cell, levels) for cell in cells), dtype=np.int32, count=len(cells))


def _cell_bytes(cells: Sequence[str]) -> bytes:
    return ("\n".join(cells) + "\n").encode()


def _value_bytes(values: npt.NDArray[Any]) -> bytes:
    if values.dtype.kind == "M":
        return values.astype("<i8").tobytes()
    return np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes()


def _code(cell: str, levels: dict[str, int]) -> int:
    if cell == NULL:
        return -1
    text = _ESCAPED.sub(lambda m: _UNESCAPES[m[1]], cell) if "\\" in cell else cell
    return levels.setdefault(text, len(levels))
