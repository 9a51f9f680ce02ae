"""A snapshot as columns: the rows of a dataset up to a sequence number, the latest of each key, and their hash.

Rows arrive as *lines*, one per row in the order of ``ingest_seq``, in a canonical text that Postgres' COPY writes (with
ISO dates, UTC and shortest floats) and :func:`canonical_line` writes from Python values. The content hash is the
SHA-256 of the header (:func:`header`) and the lines, so it depends on the rows alone, not on how they are stored.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
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


def canonical_line(schema: Schema, seq: int, row: Mapping[str, Any]) -> str:
    """Return a row as its line, without the line end: the sequence number and the cells, with tabs between them."""
    return "\t".join([str(seq), *(canonical_cell(row.get(c.name)) for c in schema.columns)])


def canonical_cell(value: Any) -> str:
    r"""Return one clean value as text: ``\N`` for missing, ``t``/``f``, decimals, ISO dates, escaped strings."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, float):
        return _shortest(value)
    if isinstance(value, datetime):
        return (
            value.astimezone(UTC).replace(tzinfo=None).isoformat(" ").rstrip("0" if value.microsecond else "") + "+00"
        )
    if isinstance(value, date):
        return value.isoformat()
    return _ESCAPABLE.sub(lambda m: _ESCAPES[m[0]], str(value))


def _shortest(value: float) -> str:
    """Return the shortest decimal that reads back as ``value``, in Postgres' form: no '.0', exponents from 1e+15."""
    mantissa, _, exponent = f"{value!r}".partition("e")
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = digits.partition(".")
    figures = (whole + fraction).lstrip("0")
    if not figures:
        return f"{sign}0"
    leading = len(whole.lstrip("0")) if whole.strip("0") else len(fraction.lstrip("0")) - len(fraction)
    power = leading - 1 + int(exponent or 0)
    figures = figures.rstrip("0")
    if not -4 <= power < 15:
        rest = f".{figures[1:]}" if len(figures) > 1 else ""
        return f"{sign}{figures[0]}{rest}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{figures}"
    padded = figures.ljust(power + 1, "0")
    rest = f".{padded[power + 1 :]}" if len(padded) > power + 1 else ""
    return f"{sign}{padded[: power + 1]}{rest}"


class SnapshotBuilder:
    """Takes lines piece by piece and makes a :class:`Snapshot`; holds numbers, not text, of what it has taken."""

    def __init__(self, schema: Schema, upto_seq: int) -> None:
        self._schema = schema
        self._upto_seq = upto_seq
        self._hash = hashlib.sha256(header(schema).encode() + b"\n")
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
        self._hash.update(("\n".join(lines) + "\n").encode())
        numbers, *cells = zip(*(line.split("\t") for line in lines), strict=True)
        self._seq.append(np.array(numbers, dtype=np.int64))
        self._first.append(np.asarray(first_seq, dtype=np.int64))
        self._unit.append(self._units(numbers, cells))
        for index, column in enumerate(self._schema.columns):
            self._parts[index].append(_parsed(column, cells[index], self._levels[index]))

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
            self._hash.hexdigest(),
        )

    def _units(self, numbers: Sequence[str], cells: Sequence[Sequence[str]]) -> npt.NDArray[np.uint64]:
        """Return the unit hash of each row; a missing group or key cannot hold rows together."""
        count = len(numbers)

        def unit(row: int) -> int:
            if self._group is not None and cells[self._group][row] != NULL:
                return unit_hash("group", [cells[self._group][row]])
            key = [cells[k][row] for k in self._keys]
            return unit_hash("key", key) if key and NULL not in key else unit_hash("row", [numbers[row]])

        return np.fromiter((unit(row) for row in range(count)), dtype=np.uint64, count=count)


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


def _code(cell: str, levels: dict[str, int]) -> int:
    if cell == NULL:
        return -1
    text = _ESCAPED.sub(lambda m: _UNESCAPES[m[1]], cell) if "\\" in cell else cell
    return levels.setdefault(text, len(levels))
