"""A snapshot as columns: the rows of a dataset up to a sequence number W, the latest of each key, and their hash.

**The content hash, version 2.** It depends on the rows alone: not on how they were read, nor on what came later.
Anybody can compute it; :mod:`trainyard.testing.snapshot_reference` does, without any of the code here.

The rows with ``ingest_seq <= W``, superseded ones too, are cut into blocks: block k holds the numbers k*B+1 to (k+1)*B
with B = 65,536. The hash is the SHA-256 of these bytes, one after the other:

1. a line of JSON without blanks, ASCII, with a line end:
   ``["trainyard snapshot",2,65536,[["name","type"],...],["key column",...]]``;
2. the SHA-256 digests (raw) of the blocks that have rows, in order;
3. only where there are key columns: the SHA-256 digest of the numbers of the rows that the snapshot consists of, the
   newest of each key (rows with a missing key column each alone), ascending, as little-endian int64.

The bytes of a block, little-endian, are ``"TYB2"``, the number of rows n as uint32, then the section of ``ingest_seq``
and one for each column; each part is filled up with zero bytes to a multiple of eight.

- *whole numbers* (``ingest_seq``, bool as 0 and 1, int, date and timestamp as microseconds since 1970): four int64:
  width w, 1 if a value is missing (else 0), base, step; if one is missing ceil(n/8) bytes, bit i%8 of byte i//8 set
  where row i is; then n unsigned numbers of w bytes, value/step - base, 0 where missing. step is 1, for date and
  timestamp the largest of 86400000000, 3600000000, 60000000, 1000000, 1000 and 1 that divides all values; base is the
  smallest value/step (0 when all are missing, then step is 1 too); w is the smallest of 0, 1, 2, 4, 8 that suffices.
- *float*: n doubles, 0x7ff8000000000000 where missing.
- *texts* (category, text): three int64: width w, number of levels, length of the level text; the levels in the order
  of their first appearance as UTF-8 with a zero byte between them; then n unsigned numbers of w bytes: 0 where missing,
  else the level's place from 1. w as above.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.schema import Schema

FloatArray = npt.NDArray[np.float64]
#: Rows of a block that nothing was removed from.
BLOCK_ROWS = 65_536
_VERSION = 2


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
        columns: one entry for each column of the schema.
        sha256: hex.
        exact: shape (rows,), int64, of those key and group columns whose whole numbers float64 has to round.
        known_unit: ``unit``, where it was read or computed on the way.
    """

    schema: Schema
    upto_seq: int
    seq: npt.NDArray[np.int64]
    first_seq: npt.NDArray[np.int64]
    columns: Mapping[str, Values]
    sha256: str
    exact: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    known_unit: npt.NDArray[np.uint64] | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.seq)

    @cached_property
    def unit(self) -> npt.NDArray[np.uint64]:
        """Shape (rows,): hash of what must not be split (group, else key, else the row); about 1 us a row."""
        from trainyard.snapshot.units import units_of  # noqa: PLC0415 - it needs Texts

        if self.known_unit is not None:
            return self.known_unit
        return units_of(self.schema, self.seq, self.columns, self.exact)


def content_hash(
    schema: Schema,
    digests: Sequence[bytes],
    selected: npt.NDArray[np.int64],
    *,
    block_rows: int = BLOCK_ROWS,
) -> str:
    """Return the content hash as hex.

    Args:
        digests: SHA-256 of each block that has rows, in order.
        selected: numbers of the snapshot's rows, ascending; used where there are key columns.
        block_rows: anything but the default is for tests.
    """
    head = [
        "trainyard snapshot",
        _VERSION,
        block_rows,
        [[c.name, c.type] for c in schema.columns],
        [c.name for c in schema.keys],
    ]
    whole = hashlib.sha256(json.dumps(head, separators=(",", ":"), ensure_ascii=True).encode() + b"\n")
    for digest in digests:
        whole.update(digest)
    if schema.keys:
        whole.update(hashlib.sha256(np.ascontiguousarray(selected, dtype="<i8").data).digest())
    return whole.hexdigest()
