"""The extract: the rows that a version was made from, as a Parquet file for the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from trainyard.snapshot import BLOCK_ROWS, Texts
from trainyard_trainer import workdir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainyard.schema import Column
    from trainyard.snapshot import Snapshot, Values

_TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "category": pa.string(),
    "text": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
_FILE = "extract.parquet"


def write_extract(directory: Path, described: Mapping[str, Any]) -> Path:
    """Write the snapshot in ``directory`` as Parquet, a group of rows at a time, and return the file.

    Its columns are ``ingest_seq`` and ``first_seq`` (with ``_`` before it where the schema has such a name itself),
    then those of the schema. Whole numbers beyond 2^53 are as the training saw them, rounded. The file's metadata hold
    the content hash and ``upto_seq``.
    """
    snapshot = workdir.read_snapshot(directory, described)
    columns = snapshot.schema.columns
    taken = {column.name for column in columns}
    numbers = {_free(name, taken): getattr(snapshot, name) for name in ("seq", "first_seq")}
    fields = [pa.field(name, pa.int64(), nullable=False) for name in numbers]
    fields += [pa.field(column.name, _TYPES[column.type]) for column in columns]
    about = {"trainyard.sha256": snapshot.sha256, "trainyard.upto_seq": str(snapshot.upto_seq)}
    schema = pa.schema(fields, metadata=about)
    path = directory / _FILE
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, snapshot.rows, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            arrays = [pa.array(values[rows], pa.int64()) for values in numbers.values()]
            arrays += [_array(column, snapshot, rows) for column in columns]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return path


def _free(name: str, taken: set[str]) -> str:
    name = {"seq": "ingest_seq"}.get(name, name)
    while name in taken:
        name = f"_{name}"
    return name


def _array(column: Column, snapshot: Snapshot, rows: slice) -> pa.Array:
    values: Values = snapshot.columns[column.name]
    if isinstance(values, Texts):
        codes = np.asarray(values.codes[rows])
        used, places = np.unique(codes, return_inverse=True)
        levels = pa.array([None if code < 0 else values.levels[code] for code in used.tolist()], pa.string())
        return levels.take(pa.array(places))
    part = np.asarray(values[rows])
    missing = np.isnat(part) if part.dtype.kind == "M" else np.isnan(part)
    if part.dtype.kind == "M":
        return pa.array(part, pa.timestamp("us"), mask=missing).cast(_TYPES[column.type])
    if column.type == "float":
        return pa.array(part, pa.float64(), mask=missing)
    # 2^63, to which the largest whole numbers are rounded, is one too many.
    whole = np.clip(np.where(missing, 0, part), -(2.0**63), np.nextafter(2.0**63, 0)).astype(np.int64)
    return pa.array(whole, pa.int64(), mask=missing).cast(_TYPES[column.type])
