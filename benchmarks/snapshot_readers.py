"""One reading of a table into numpy, in a process of its own: ``python snapshot_readers.py HOW DSN DATASET QUERY``.

Prints one line of JSON: seconds from the first byte asked for to the last array made (imports and connection are
there before), growth of memory, and a digest of each column, by which the readers are compared. It runs in our
environment and in that of the peers, so it imports what ``HOW`` needs and nothing else of ours.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Rows of which the digests are made; strings take long one by one.
_MOST_COMPARED = 400_000

Columns = dict[str, Any]
Reader = tuple[object, "Callable[[], Columns]"]


def copy(dsn: str, _: int, query: str) -> Reader:
    """COPY to nowhere: what the server can send and the driver take."""
    import psycopg2  # noqa: PLC0415

    connection = psycopg2.connect(dsn, options="-c timezone=UTC")
    cursor = connection.cursor()

    def read() -> Columns:
        with Path("/dev/null").open("wb", buffering=1 << 20) as nowhere:
            cursor.copy_expert(f"COPY ({query}) TO STDOUT", nowhere)
        return {}

    return connection, read


def ours(dsn: str, dataset: int, _: str) -> Reader:
    """Read as the trainer does."""
    from trainyard.adapters.postgres.engine import make_engine, reachable  # noqa: PLC0415
    from trainyard.adapters.postgres.snapshots import PostgresSnapshots  # noqa: PLC0415

    engine = make_engine(dsn.replace("postgresql://", "postgresql+psycopg2://"), service="benchmark", pool_size=4)
    reachable(engine)

    def read() -> Columns:
        snapshot = PostgresSnapshots(engine).read(dataset, 2**62)
        return {"ingest_seq": snapshot.seq, **snapshot.columns}

    return engine, read


def adbc(dsn: str, _: int, query: str) -> Reader:
    """Arrow's own driver."""
    import adbc_driver_postgresql.dbapi as driver  # noqa: PLC0415
    import pyarrow.compute  # noqa: F401, PLC0415

    connection = driver.connect(dsn)
    cursor = connection.cursor()

    def read() -> Columns:
        cursor.execute(query)
        return _from_arrow(cursor.fetch_arrow_table())

    return connection, read


def connectorx(dsn: str, _: int, query: str) -> Reader:
    """ConnectorX into Arrow."""
    import connectorx as cx  # noqa: PLC0415
    import pyarrow.compute  # noqa: F401, PLC0415

    return None, lambda: _from_arrow(cx.read_sql(dsn, query, return_type="arrow"))


def pandas(dsn: str, _: int, query: str) -> Reader:
    """What most people write."""
    import pandas as pd  # noqa: PLC0415
    import sqlalchemy as sa  # noqa: PLC0415

    engine = sa.create_engine(dsn.replace("postgresql://", "postgresql+psycopg2://"))
    engine.connect().close()

    def read() -> Columns:
        frame = pd.read_sql(query, engine)
        return {name: frame[name].to_numpy() for name in frame.columns}

    return engine, read


def _from_arrow(table: Any) -> Columns:
    """Make of an Arrow table what a training needs: float64 with NaN, datetime64, codes and levels."""
    import pyarrow as pa  # noqa: PLC0415

    columns: Columns = {}
    for name in table.column_names:
        values = table.column(name)
        if pa.types.is_integer(values.type):
            kind = pa.int64() if name == "ingest_seq" else pa.float64()
            columns[name] = values.cast(kind).to_numpy()
        elif pa.types.is_timestamp(values.type):
            columns[name] = values.cast(pa.timestamp("us")).to_numpy()
        else:
            columns[name] = values.dictionary_encode().combine_chunks()
    return columns


def _digests(columns: Mapping[str, Any]) -> dict[str, str]:
    """Return a digest of each column, whatever holds it: of all rows, or of every so-manieth of a large table."""
    found = {}
    for name, values in columns.items():
        every = 1 + len(getattr(values, "codes", values)) // _MOST_COMPARED
        part = values.take(slice(None, None, every)) if hasattr(values, "levels") else values[::every]
        found[name] = hashlib.sha256(_plain(part)).hexdigest()[:16]
    return found


def _plain(values: Any) -> bytes:
    if hasattr(values, "levels"):  # ours
        values = values.values()
    elif hasattr(values, "to_pylist"):
        values = np.array(values.to_pylist(), dtype=object)
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]").astype(np.int64).tobytes()
    if values.dtype.kind in "if":
        return values.astype(np.float64).tobytes()
    if len(values) and hasattr(values[0], "tzinfo"):
        return np.array([v.replace(tzinfo=None) for v in values], "datetime64[us]").astype(np.int64).tobytes()
    return "\n".join("\0" if v is None or v != v else v for v in values).encode()  # noqa: PLR0124 - NaN


def main() -> None:
    """Read once and say how it went."""
    how, dsn, dataset, query = sys.argv[1:]
    readers = {"copy": copy, "ours": ours, "adbc": adbc, "connectorx": connectorx, "pandas": pandas}
    kept, read = readers[how](dsn, int(dataset), query)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: imports have had theirs
    before = _memory("VmRSS")
    began = time.perf_counter()
    columns = read()
    seconds = time.perf_counter() - began
    peak = _memory("VmHWM") - before
    size = sum(_bytes(values) for values in columns.values())
    said = {"seconds": seconds, "peak_mb": peak / 1024, "result_mb": size / 2**20, "digests": _digests(columns)}
    print(json.dumps(said))
    del kept


def _memory(name: str) -> int:
    """Return a figure of /proc in kilobytes."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))


def _bytes(values: Any) -> int:
    return int(values.codes.nbytes if hasattr(values, "codes") else values.nbytes)


if __name__ == "__main__":
    main()
