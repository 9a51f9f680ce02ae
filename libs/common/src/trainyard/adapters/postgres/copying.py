"""The tables of datasets: made, dropped, and filled by COPY through a staging table.

Physical names (``data_.t_7``, ``c1``) are ours; users' names appear only as quoted identifiers of the view.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql

from trainyard import logs
from trainyard.crashpoints import crashpoint
from trainyard.errors import Problem, ServiceError

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    import sqlalchemy as sa

    from trainyard.contracts.warehouse import Dataset, Rows

#: column type -> Postgres type
TYPES = {
    "bool": "boolean",
    "int": "bigint",
    "float": "double precision",
    "text": "text",
    "category": "text",
    "date": "date",
    "timestamp": "timestamp with time zone",
}
_STAGE = sql.Identifier("pg_temp", "trainyard_stage")
_PIECE_BYTES = 1 << 18
_TOO_WIDE = "54000"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_log = logs.get(__name__)


def table_of(dataset: Dataset) -> sql.Identifier:
    """Return the name of the dataset's table."""
    return sql.Identifier("data_", f"t_{dataset.id}")


def _view_of(dataset: Dataset) -> sql.Identifier:
    return sql.Identifier("data", dataset.name)


def _list(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _definitions(dataset: Dataset) -> sql.Composed:
    pairs = zip(dataset.physical, dataset.schema.columns, strict=True)
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(TYPES[column.type])) for name, column in pairs
    )


def _run(connection: sa.Connection, statement: sql.Composable, *values: object) -> Any:
    """Execute on the driver itself: identifiers may hold signs that SQLAlchemy would read as parameters."""
    cursor: Any = connection.connection.cursor()
    cursor.execute(statement, values or None)
    return cursor


def create_table(connection: sa.Connection, dataset: Dataset) -> None:
    """Make the dataset's table, and its view with the users' names: the latest row of each key."""
    physical, schema = dataset.physical, dataset.schema
    _run(
        connection,
        sql.SQL("CREATE TABLE {} (ingest_seq bigint PRIMARY KEY, batch_id uuid NOT NULL, {})").format(
            table_of(dataset), _definitions(dataset)
        ),
    )
    shown = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(sql.Identifier(name), sql.Identifier(column.name))
        for name, column in zip(physical, schema.columns, strict=True)
    )
    keys = _list([name for name, column in zip(physical, schema.columns, strict=True) if column.role == "key"])
    _run(connection, sql.SQL("CREATE VIEW {} AS {}").format(_view_of(dataset), _latest(shown, dataset, keys)))


def _latest(shown: sql.Composed, dataset: Dataset, keys: sql.Composed) -> sql.Composed:
    table = table_of(dataset)
    if not keys.seq:
        return sql.SQL("SELECT {} FROM {}").format(shown, table)
    return sql.SQL("SELECT DISTINCT ON ({keys}) {shown} FROM {table} ORDER BY {keys}, ingest_seq DESC").format(
        keys=keys, shown=shown, table=table
    )


def drop_table(connection: sa.Connection, dataset: Dataset) -> None:
    """Remove the dataset's view and table."""
    _run(connection, sql.SQL("DROP VIEW {}").format(_view_of(dataset)))
    _run(connection, sql.SQL("DROP TABLE {}").format(table_of(dataset)))


def stage(connection: sa.Connection, dataset: Dataset, rows: Rows) -> None:
    """COPY all rows into a table that lives until the end of the transaction.

    Raises:
        ServiceError: what reading the rows raises, or ``invalid_rows`` for a row that the database cannot hold.
    """
    # One COPY lasts as long as the upload does.
    _run(connection, sql.SQL("SET LOCAL statement_timeout = 0"))
    _run(connection, sql.SQL("SET LOCAL lock_timeout = '60s'"))
    _run(
        connection, sql.SQL("CREATE TEMPORARY TABLE trainyard_stage ({}) ON COMMIT DROP").format(_definitions(dataset))
    )
    by_name = dict(zip(dataset.schema.names, dataset.physical, strict=True))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT text, NULL {})").format(
        _STAGE, _list([by_name[name] for name in rows.columns]), sql.Literal("" if rows.missing == "" else r"\N")
    )
    source = _Source(rows)
    try:
        with _row_faults():
            cursor: Any = connection.connection.cursor()
            cursor.copy_expert(statement, source, size=_PIECE_BYTES)
    except Exception as e:
        if source.failure is not None:  # the driver wraps what read() raises
            raise source.failure from e
        raise


def staged_checksum(connection: sa.Connection, dataset: Dataset) -> Decimal:
    """Return the checksum of the staged rows."""
    cursor = _run(connection, sql.SQL("SELECT {} FROM {}").format(checksum_expression(dataset), _STAGE))
    checksum: Decimal = cursor.fetchone()[0]
    return checksum


def checksum_expression(dataset: Dataset) -> sql.Composed:
    """Return the aggregate that is the checksum: defined beside ``core.batch.checksum`` in the migration."""
    return sql.SQL("coalesce(sum(hash_record_extended(ROW({}), 0)), 0)").format(_list(dataset.physical))


def merge(connection: sa.Connection, dataset: Dataset, batch_id: uuid.UUID, last_seq: int) -> int:
    """Move the staged rows into the dataset's table, numbered from ``last_seq + 1``; return how many they are."""
    columns = _list(dataset.physical)
    # A sequential scan of a temporary table gives the rows as they were copied.
    statement = sql.SQL(
        "INSERT INTO {table} (ingest_seq, batch_id, {columns})"
        " SELECT %s + row_number() OVER (), %s::uuid, {columns} FROM {stage}"
    ).format(table=table_of(dataset), columns=columns, stage=_STAGE)
    with _row_faults():
        return int(_run(connection, statement, last_seq, str(batch_id)).rowcount)


@contextmanager
def _row_faults() -> Iterator[None]:
    """Name a row that passed the schema's check and that the database cannot hold: one that is too wide, above all."""
    try:
        yield
    except psycopg2.Error as e:
        if e.pgcode is None or not (e.pgcode == _TOO_WIDE or e.pgcode.startswith("22")):
            raise
        where = re.search(r"COPY trainyard_stage, line (\d+)", e.diag.context or "")
        said = str(e.diag.message_primary)
        _log.warning("rows.database_refused", state=e.pgcode, reason=said)
        problem = Problem(
            None,
            None,
            "a row that the database can hold",
            f"row {where[1]} of the good ones: {said}" if where else said,
        )
        raise ServiceError("invalid_rows", f"the database cannot hold a row: {said}", [problem]) from e


class _Source:
    """Checked rows as the file that COPY reads; keeps what reading them raised."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._piece = b""
        self._at = 0
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes, and none at the end."""
        try:
            while self._at == len(self._piece):
                chunk = next(self._rows.chunks, None)
                if chunk is None:
                    return b""
                crashpoint("K3")
                self._piece, self._at = _encode(chunk, self._rows), 0
        except Exception as e:
            self.failure = e
            raise
        end = len(self._piece) if size < 0 else self._at + size
        piece = self._piece[self._at : end]
        self._at += len(piece)
        return piece


def _encode(chunk: Sequence[Sequence[str]], rows: Rows) -> bytes:
    """Return rows in COPY's text format."""
    if not chunk:
        return b""
    text = "\n".join(map("\t".join, chunk)) + "\n"
    separators = (text.count("\t"), text.count("\n"))
    if "\\" in text or "\r" in text or separators != (len(chunk) * (len(rows.columns) - 1), len(chunk)):
        text = "".join("\t".join(cell.translate(_ESCAPES) for cell in row) + "\n" for row in chunk)
    if rows.missing:
        text = text.replace(rows.missing, r"\N")
    return text.encode()
