"""The tables of datasets: shaped by the database's own function, filled by COPY.

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
    from collections.abc import Iterator, Sequence

    import sqlalchemy as sa

    from trainyard.contracts.warehouse import Dataset, Rows

#: What the driver sends at once: as much as the server's own buffer for COPY holds.
_PIECE_BYTES = 1 << 16
#: Of cells without these, CSV and COPY's own text are the same bytes.
_NOT_PLAIN = (b'"', b"\\", b"\r")
_TOO_WIDE = "54000"
_log = logs.get(__name__)


def table_of(dataset: Dataset) -> sql.Identifier:
    """Return the name of the dataset's table."""
    return sql.Identifier("data_", f"t_{dataset.id}")


def _list(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _run(connection: sa.Connection, statement: sql.Composable, *values: object) -> Any:
    """Execute on the driver itself: identifiers may hold signs that SQLAlchemy would read as parameters."""
    cursor: Any = connection.connection.cursor()
    cursor.execute(statement, values or None)
    return cursor


def shape(connection: sa.Connection, dataset_id: int) -> None:
    """Make, change or drop sequence, table and view, as the dataset's record in this transaction says."""
    _run(connection, sql.SQL("SELECT core.shape_dataset(%s)"), dataset_id)


def load(connection: sa.Connection, dataset: Dataset, rows: Rows, last_seq: int) -> int:
    """COPY all rows into the dataset's table, numbered from ``last_seq + 1``; return how many they are.

    The caller holds the dataset's lock, so nobody else draws numbers.

    Raises:
        ServiceError: what reading the rows raises, or ``invalid_rows`` for a row that the database cannot hold.
    """
    # One COPY lasts as long as the upload does.
    _run(connection, sql.SQL("SET LOCAL statement_timeout = 0"))
    # What the release before makes during an upgrade has no sequence yet.
    numbers = f"data_.s_{dataset.id}"
    _run(connection, sql.SQL("SELECT core.shape_dataset(%s) WHERE to_regclass(%s) IS NULL"), dataset.id, numbers)
    # A transaction that was rolled back has drawn numbers too; and this forgets those that the session has in store.
    _run(
        connection,
        sql.SQL("SELECT setval(%s::regclass, %s, false)"),
        numbers,
        last_seq + 1,
    )
    by_name = dict(zip(dataset.schema.names, dataset.physical, strict=True))
    columns = _list([by_name[name] for name in rows.columns])
    missing = sql.SQL(", FORCE_NULL ({})").format(columns) if rows.quoted_empty_is_missing else sql.SQL("")
    into = sql.SQL("COPY {} ({}) FROM STDIN ").format(table_of(dataset), columns)
    chunks = _Chunks(rows.chunks)
    crashpoint("K4")
    # The server reads its own text faster than CSV: it need not look for quotes. One COPY follows the other, so the
    # rows keep their order; behind the first quote everything is read as CSV, which is right for any chunk.
    count = _copy(connection, dataset, into + sql.SQL("(FORMAT text, DELIMITER ',', NULL '')"), chunks.plain())
    if chunks.left:
        as_csv = sql.SQL("(FORMAT csv{})").format(missing)
        count += _copy(connection, dataset, into + as_csv, chunks.rest(), rows_before=count)
    return count


def _copy(
    connection: sa.Connection,
    dataset: Dataset,
    statement: sql.Composed,
    chunks: Iterator[bytes],
    *,
    rows_before: int = 0,
) -> int:
    source = _Source(chunks)
    cursor: Any = connection.connection.cursor()
    try:
        with _row_faults(dataset, rows_before):
            cursor.copy_expert(statement, source, size=_PIECE_BYTES)
    except Exception as e:
        if source.failure is not None:  # the driver wraps what read() raises
            raise source.failure from e
        raise
    return int(cursor.rowcount)


def checksum_expression(dataset: Dataset) -> sql.Composed:
    """Return the aggregate that is the checksum: defined beside ``core.batch.checksum`` in the migration."""
    return sql.SQL("coalesce(sum(hash_record_extended(ROW({}), 0)), 0)").format(_list(dataset.physical))


@contextmanager
def _row_faults(dataset: Dataset, rows_before: int) -> Iterator[None]:
    """Name a row that passed the schema's check and that the database cannot hold: one that is too wide, above all."""
    try:
        yield
    except psycopg2.Error as e:
        if e.pgcode is None or not (e.pgcode == _TOO_WIDE or e.pgcode.startswith("22")):
            raise
        where = re.search(rf"COPY t_{dataset.id}, line (\d+)", e.diag.context or "")
        said = str(e.diag.message_primary)
        _log.warning("rows.database_refused", state=e.pgcode, reason=said)
        problem = Problem(
            None,
            None,
            "a row that the database can hold",
            f"row {rows_before + int(where[1])} of the good ones: {said}" if where else said,
        )
        raise ServiceError("invalid_rows", f"the database cannot hold a row: {said}", [problem]) from e


class _Chunks:
    """Chunks of checked rows, divided at the first that COPY's own text would read otherwise than CSV."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._kept: bytes | None = None

    @property
    def left(self) -> bool:
        """Whether :meth:`plain` has ended before the end."""
        return self._kept is not None

    def plain(self) -> Iterator[bytes]:
        """Yield the chunks before that one."""
        for chunk in self._chunks:
            if any(sign in chunk for sign in _NOT_PLAIN):
                self._kept = chunk
                return
            yield chunk

    def rest(self) -> Iterator[bytes]:
        """Yield that chunk and those behind it."""
        if self._kept is not None:
            yield self._kept
        yield from self._chunks


class _Source:
    """Chunks as the file that COPY reads; keeps what reading them raised."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._piece = memoryview(b"")
        self._at = 0
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes, and none at the end."""
        try:
            while self._at == len(self._piece):
                chunk = next(self._chunks, None)
                if chunk is None:
                    return b""
                crashpoint("K3")
                self._piece, self._at = memoryview(chunk), 0
        except Exception as e:
            self.failure = e
            raise
        end = len(self._piece) if size < 0 else self._at + size
        piece = self._piece[self._at : end]
        self._at += len(piece)
        return bytes(piece)
