"""Parsed pieces become a block: each column is written to its place in arrays that one block after the other uses.

The arrays are there once: what Arrow has made of a piece is gone with it, so a reading holds neither a block's pieces
nor a second copy of its columns, and the system gives it no page twice.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainyard.adapters.postgres.snapshots.text import POOL, view
from trainyard.snapshot.block import Block, Whole, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.schema import Column, Schema

Bools = npt.NDArray[np.bool_]
_UNESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_DAY = 86_400_000_000
#: Days from 1970-01-01 to the server's own first day, 2000-01-01.
_FIRST_DAY = 10_957
#: Whole days that 64 bits of microseconds hold on either side of 1970.
_MOST_DAYS = (1 << 63) // _DAY - 1
#: A backslash is written twice.
_HEX_BEGINS = len(r"\\x")


class Filling:
    """A block that is being filled."""

    def __init__(self, schema: Schema, block_rows: int) -> None:
        """Make room for ``block_rows`` rows; memory is taken as they come."""
        self.rows = 0
        self._seq = np.empty(block_rows, np.int64)
        self._columns = [_texts_or_numbers(column, block_rows) for column in schema.columns]

    def add(self, cells: Sequence[pa.Array]) -> None:
        """Take the next rows: ``ingest_seq`` and the columns, as the parser returns them."""
        seq, *columns = cells
        place = slice(self.rows, self.rows + len(seq))
        self._seq[place] = view(seq, np.int64)
        for column, values in zip(self._columns, columns, strict=True):
            column.add(values, place)
        self.rows = place.stop

    def take(self) -> Block:
        """Return the rows as a block, which holds until the next ones are added, and begin another one."""
        rows, self.rows = self.rows, 0
        return Block(Whole(self._seq[:rows]), tuple(column.take(rows) for column in self._columns))


class _Column(Protocol):
    def add(self, values: pa.Array, place: slice) -> None:
        """Write the next values."""

    def take(self, rows: int) -> Any:
        """Return the block's column and begin another one."""


def _texts_or_numbers(column: Column, rows: int) -> _Column:
    return _Texts() if column.type in ("category", "text") else _Numbers(column.type, rows)


class _Texts:
    """Strings, encoded piece by piece: Arrow makes one dictionary of theirs."""

    def __init__(self) -> None:
        self._parts: list[pa.Array] = []

    def add(self, values: pa.Array, _: slice) -> None:
        """Keep the next values."""
        self._parts.append(values)

    def take(self, _: int) -> Any:
        """Return codes and levels."""
        values, self._parts = pa.concat_arrays(self._parts, POOL), []
        levels = [_plain(level) for level in values.dictionary.to_pylist()]
        codes = view(values.indices, np.int32) + np.int32(1)
        missing = _missing(values)
        if missing is not None:
            codes[missing] = 0
        return words(codes, levels)


class _Numbers:
    """Everything else: numbers, and where one is missing."""

    def __init__(self, kind: str, rows: int) -> None:
        self._kind = kind
        self._numbers = np.empty(rows, {"bool": np.uint8, "float": np.float64}.get(kind, np.int64))
        self._missing = np.zeros(rows, np.bool_)
        self._some_missing = False

    def add(self, values: pa.Array, place: slice) -> None:
        """Write the next values."""
        missing = _missing(values)
        self._numbers[place] = self._read(values, missing)
        self._missing[place] = False if missing is None else missing
        self._some_missing |= missing is not None

    def take(self, rows: int) -> Any:
        """Return floats with NaN, or whole numbers."""
        numbers = self._numbers[:rows]
        missing = self._missing[:rows] if self._some_missing else None
        self._some_missing = False
        if self._kind == "float":
            return numbers if missing is None else np.where(missing, np.nan, numbers)
        return Whole(numbers, missing, step=_DAY if self._kind == "date" else 1)

    def _read(self, values: pa.Array, missing: Bools | None) -> npt.NDArray[Any]:
        if self._kind == "bool":
            return view(values.cast(pa.uint8(), memory_pool=POOL), np.uint8)
        if self._kind == "date":
            return _sent(values, missing, ">i4", -_MOST_DAYS, _MOST_DAYS - _FIRST_DAY) + _FIRST_DAY
        if self._kind == "timestamp":
            since = _FIRST_DAY * _DAY
            return _sent(values, missing, ">i8", -(1 << 62), (1 << 63) - 1 - since) + since
        return view(values, self._numbers.dtype)


def _missing(values: pa.Array) -> Bools | None:
    """Return where values are missing, None if nowhere."""
    if not values.null_count:
        return None
    bits = np.frombuffer(values.buffers()[0], np.uint8)
    there = np.unpackbits(bits, count=values.offset + len(values), bitorder="little")
    return np.equal(there[values.offset :], 0)


def _sent(values: pa.Array, missing: Bools | None, kind: str, lowest: int, highest: int) -> npt.NDArray[np.int64]:
    """Return the numbers that hexadecimal cells say, 0 where missing."""
    numbers = np.zeros(len(values), np.int64)
    if values.null_count == len(values):
        return numbers
    _, offsets, cells = values.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(values) + 1, values.offset * 4)
    width = _HEX_BEGINS + 2 * np.dtype(kind).itemsize
    digits = np.frombuffer(cells, np.uint8)[bounds[0] : bounds[-1]].reshape(-1, width)[:, _HEX_BEGINS:]
    found = np.frombuffer(binascii.unhexlify(digits.tobytes()), kind)
    if found.min() < lowest or found.max() > highest:
        raise ValueError("the database holds a time without end, or one that is out of reach")
    numbers[slice(None) if missing is None else ~missing] = found
    return numbers


def _plain(level: str) -> str:
    if "\\" not in level:
        return level
    return _ESCAPED.sub(lambda m: _UNESCAPES.get(m[1], m[1]), level)
