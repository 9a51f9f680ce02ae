"""Snapshots from Postgres: one COPY, parsed while it streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg2 import sql

from trainyard.adapters.postgres.engine import transaction
from trainyard.contracts.snapshots import Snapshots
from trainyard.errors import ServiceError
from trainyard.schema import Schema
from trainyard.snapshot import SnapshotBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.snapshot import Snapshot

_PIECE_BYTES = 1 << 20
#: What the text of a cell depends on (trainyard.snapshot).
_FORMS = "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1"


class PostgresSnapshots(Snapshots):
    """The tables ``data_.t_<id>``, read as ``core.dataset.columns`` describes them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self, dataset_id: int, upto_seq: int, *, progress: Callable[[int], None] | None = None) -> Snapshot:
        """COPY the latest row of each key in the order of ``ingest_seq``."""
        with transaction(self._engine) as connection:
            columns = connection.execute(
                sa.text("SELECT columns FROM core.dataset WHERE id = :id AND deleted_at IS NULL FOR KEY SHARE"),
                {"id": dataset_id},
            ).scalar_one_or_none()
            if columns is None:
                raise ServiceError("unknown_dataset", "the dataset was deleted")
            schema = Schema.from_dict({"columns": [{k: v for k, v in c.items() if k != "physical"} for c in columns]})
            taker = _Taker(SnapshotBuilder(schema, upto_seq), progress)
            driver: Any = connection.connection
            with driver.cursor() as cursor:
                # A large table takes longer than the minute that other statements get.
                cursor.execute(f"{_FORMS}; SET LOCAL statement_timeout = '30min'")
                query = _query(dataset_id, columns).as_string(cursor)
                query = cursor.mogrify(query, {"upto": upto_seq}).decode()
                try:
                    cursor.copy_expert(f"COPY ({query}) TO STDOUT", taker)
                except BaseException:
                    connection.invalidate()  # half a COPY may be left in it
                    raise
        return taker.done()


def _query(dataset_id: int, columns: Sequence[dict[str, Any]]) -> sql.Composed:
    """Return the query for (ingest_seq, cells ..., first number of the key), rows without a whole key each alone."""
    table = sql.Identifier("data_", f"t_{dataset_id}")
    cells = sql.SQL("").join(sql.SQL(", t.{}").format(sql.Identifier(c["physical"])) for c in columns)
    keys = [sql.Identifier(c["physical"]) for c in columns if c["role"] == "key"]
    if not keys:
        return sql.SQL(
            "SELECT t.ingest_seq{cells}, t.ingest_seq FROM {table} t WHERE t.ingest_seq <= %(upto)s"
            " ORDER BY t.ingest_seq"
        ).format(cells=cells, table=table)
    incomplete = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(key) for key in keys)
    return sql.SQL(
        "SELECT t.ingest_seq{cells}, k.first FROM {table} t JOIN ("
        "SELECT max(ingest_seq) AS last, min(ingest_seq) AS first FROM {table} WHERE ingest_seq <= %(upto)s"
        " GROUP BY {keys}, CASE WHEN {incomplete} THEN ingest_seq END"
        ") k ON t.ingest_seq = k.last ORDER BY t.ingest_seq"
    ).format(cells=cells, table=table, keys=sql.SQL(", ").join(keys), incomplete=incomplete)


class _Taker:
    """What COPY writes to: cuts the stream into lines and hands them on."""

    def __init__(self, builder: SnapshotBuilder, progress: Callable[[int], None] | None) -> None:
        self._builder = builder
        self._progress = progress
        self._pieces: list[bytes] = []
        self._size = 0
        self._rows = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes; COPY hands over whole lines, but nothing here relies on it."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= _PIECE_BYTES:
            whole, _, rest = b"".join(self._pieces).rpartition(b"\n")
            self._pieces, self._size = [rest], len(rest)
            self._take(whole)

    def done(self) -> Snapshot:
        """Return the snapshot; call it after the COPY."""
        self._take(b"".join(self._pieces).removesuffix(b"\n"))
        self._pieces = []
        return self._builder.build()

    def _take(self, whole: bytes) -> None:
        if not whole:
            return
        parts = [line.rpartition("\t") for line in whole.decode().split("\n")]
        self._builder.add([line for line, _, _ in parts], [int(first) for _, _, first in parts])
        self._rows += len(parts)
        if self._progress is not None:
            self._progress(self._rows)
