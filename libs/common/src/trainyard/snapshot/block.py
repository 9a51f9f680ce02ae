"""A block of a dataset's rows as columns, cut and joined; :mod:`trainyard.snapshot.packing` makes bytes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Bools = npt.NDArray[np.bool_]
Longs = npt.NDArray[np.int64]
#: Whole numbers that float64 holds, and adds to each other, without rounding.
EXACT = 1 << 52


@dataclass(frozen=True, eq=False)
class Whole:
    """Whole numbers: ``(numbers + base) * step``; ``missing`` is None where none is.

    ``numbers`` has shape (rows,) and any integer type; what it holds where a value is missing says nothing.
    """

    numbers: npt.NDArray[Any]
    missing: Bools | None = None
    base: int = 0
    step: int = 1

    def values(self) -> Longs:
        """Return the values as int64; 8-byte numbers wrap round, as they did when the base was taken off."""
        numbers = self.numbers.view(np.int64) if self.numbers.dtype == np.uint64 else self.numbers
        values = numbers.astype(np.int64)
        if self.base:
            values += np.int64(self.base)
        if self.step != 1:
            values *= np.int64(self.step)
        return values

    def into(self, out: npt.NDArray[np.float64]) -> None:
        """Write the values as float64, NaN where missing; those beyond 2^53 are rounded to the nearest."""
        if self.numbers.dtype.itemsize < np.dtype(np.int64).itemsize and self.step == 1 and abs(self.base) < EXACT:
            np.add(self.numbers, np.float64(self.base), out=out)
        else:
            out[:] = self.values()
        if self.missing is not None:
            np.copyto(out, np.nan, where=self.missing)

    def take(self, rows: Any) -> Whole:
        """Return the column of these rows (a slice, indexes or a mask)."""
        missing = None if self.missing is None else self.missing[rows]
        return Whole(self.numbers[rows], missing, self.base, self.step)


@dataclass(frozen=True, eq=False)
class Words:
    """Strings: ``codes`` (rows,), 0 where missing, else the place in ``levels`` from 1.

    Levels stand in the order of their first appearance, and each of them appears.
    """

    codes: npt.NDArray[Any]
    levels: Sequence[str]

    def take(self, rows: Any) -> Words:
        """Return the column of these rows (a slice, indexes or a mask), with their levels in their order."""
        return words(self.codes[rows], self.levels)


#: float columns are float64 arrays, NaN where missing.
Column = Whole | Words | npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Block:
    """Rows in the order of their numbers; ``columns`` as in the schema."""

    seq: Whole
    columns: tuple[Column, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.seq.numbers)

    def take(self, rows: Any) -> Block:
        """Return these rows (a slice, indexes or a mask)."""
        return Block(self.seq.take(rows), tuple(_taken(c, rows) for c in self.columns))

    def upto(self, seq: int) -> Block:
        """Return the rows up to the number ``seq``."""
        kept = int(np.searchsorted(self.seq.values(), seq, side="right"))
        return self if kept == self.rows else self.take(slice(kept))


def _taken(column: Column, rows: Any) -> Column:
    return column.take(rows) if isinstance(column, Whole | Words) else column[rows]


def words(codes: npt.NDArray[Any], levels: Sequence[str]) -> Words:
    """Return the column whose ``levels`` may be unused, or stand in another order than that of their appearance."""
    first = np.full(len(levels) + 1, len(codes), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of several assignments the last one stays
    order = np.argsort(first[1:], kind="stable")
    used = order[first[1:][order] < len(codes)]
    if len(used) == len(levels) and np.array_equal(used, np.arange(len(levels))):
        return Words(codes, levels)
    places = np.zeros(len(levels) + 1, dtype=np.uint32)
    places[used + 1] = np.arange(1, len(used) + 1)
    return Words(places[codes], [levels[i] for i in used])


def join(one: Block, other: Block) -> Block:
    """Return the rows of both, those of ``one`` first."""
    columns = (_joined(a, b) for a, b in zip(one.columns, other.columns, strict=True))
    return Block(_joined(one.seq, other.seq), tuple(columns))


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, Whole):
        missing = None
        if one.missing is not None or other.missing is not None:
            missing = np.concatenate([_mask(one), _mask(other)])
        return Whole(np.concatenate([one.values(), other.values()]), missing)
    if isinstance(one, Words):
        places = {level: place for place, level in enumerate(one.levels, start=1)}
        table = [0, *(places.setdefault(level, len(places) + 1) for level in other.levels)]
        moved = np.array(table, dtype=np.uint32)[other.codes]
        return Words(np.concatenate([one.codes.astype(np.uint32), moved]), list(places))
    return np.concatenate([one, other])


def _mask(column: Whole) -> Bools:
    return np.zeros(len(column.numbers), dtype=np.bool_) if column.missing is None else column.missing
