"""Arrow columns as the CSV that :class:`trainyard.contracts.warehouse.Rows` carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUOTED = csv.WriteOptions(include_header=False, quoting_style="needed")
_BARE = csv.WriteOptions(include_header=False, quoting_style="none")


def as_csv(columns: Sequence[Any], rows: int) -> bytes:
    """Return ``rows`` records of these arrays; missing ones are unquoted and empty.

    Texts are in quotes, unless there is none among all of them that needs any: then the server reads the records as its
    own text, which is quicker. int64, float64, bool, string, date32 and timestamp with zone are written so that
    Postgres reads equal values.
    """
    if rows == 0:
        return b""
    batch = pa.RecordBatch.from_arrays(list(columns), names=[str(number) for number in range(len(columns))])
    if not any(map(_has_empty_texts, columns)):
        try:
            data = _written(batch, _BARE)
        except pa.ArrowInvalid:
            pass  # a text with a quote, a comma or the end of a line
        else:
            if b"\\" not in data:
                return data
    return _written(batch, _QUOTED)


def _has_empty_texts(column: Any) -> bool:
    return bool(pa.types.is_string(column.type) and pc.min(pc.binary_length(column)).as_py() == 0)


def _written(batch: Any, options: csv.WriteOptions) -> bytes:
    out = pa.BufferOutputStream()
    csv.write_csv(batch, out, options)
    data: bytes = out.getvalue().to_pybytes()
    return data
