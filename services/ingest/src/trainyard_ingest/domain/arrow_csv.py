"""Arrow columns as the CSV that :class:`trainyard.contracts.warehouse.Rows` carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTIONS = csv.WriteOptions(include_header=False, quoting_style="needed")


def as_csv(columns: Sequence[Any], rows: int) -> bytes:
    """Return ``rows`` records of these arrays: texts in quotes, missing ones unquoted and empty.

    int64, float64, bool, string, date32 and timestamp with zone are written so that Postgres reads equal values.
    """
    if rows == 0:
        return b""
    batch = pa.RecordBatch.from_arrays(list(columns), names=[str(number) for number in range(len(columns))])
    out = pa.BufferOutputStream()
    csv.write_csv(batch, out, _OPTIONS)
    data: bytes = out.getvalue().to_pybytes()
    return data
