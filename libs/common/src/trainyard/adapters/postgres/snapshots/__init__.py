"""Snapshots from Postgres: packed blocks where there are some, and COPY for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg2 import errors, sql

from trainyard import logs
from trainyard.adapters.postgres import blocks, dataset_records
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.snapshots.reading import CorruptBlockError, Reading, Table
from trainyard.contracts.snapshots import Snapshots
from trainyard.errors import ServiceError
from trainyard.snapshot import BLOCK_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.snapshot import Snapshot

log = logs.get(__name__)

#: One view of the database for the whole reading, and what the text of a cell depends on (trainyard.snapshot). A large
#: table takes longer than the minute that other statements get.
_BEGIN = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL bytea_output = 'hex';"
    " SET LOCAL extra_float_digits = 1; SET LOCAL statement_timeout = '30min'"
)


class PostgresSnapshots(Snapshots):
    """The tables ``data_.t_<id>``, read as ``core.dataset.columns`` describes them.

    Blocks that a reading had to make from rows are stored for the next one. It takes a second connection for that.
    """

    def __init__(self, engine: sa.Engine, *, block_rows: int = BLOCK_ROWS) -> None:
        """``block_rows`` other than the default is for tests: the content hash depends on it."""
        self._engine = engine
        self._block_rows = block_rows

    def read(self, dataset_id: int, upto_seq: int, *, progress: Callable[[int], None] | None = None) -> Snapshot:
        """Read blocks and rows in the order of ``ingest_seq``; once more where a block turns out to be damaged."""
        while True:
            try:
                with transaction(self._engine) as connection:
                    table = self._table(connection, dataset_id, upto_seq)
                    keeper = blocks.Keeper(
                        self._engine, dataset_id, revision=table.revision, epoch=blocks.epoch_of(connection, dataset_id)
                    )
                    return Reading(connection, table, keeper, progress).run()
            except CorruptBlockError as e:
                log.warning("block.corrupt", dataset=dataset_id, first_seq=e.block.first_seq, reason=str(e))
                keeper.drop(e.block)

    def _table(self, connection: sa.Connection, dataset_id: int, upto_seq: int) -> Table:
        """Hold the table and look at it.

        The lock comes before the first query, whose view of the database stays: the rows of a table that is altered
        between the two would not be in that view.
        """
        driver: Any = connection.connection
        name = sql.Identifier("data_", f"t_{dataset_id}")
        with driver.cursor() as cursor:
            cursor.execute(_BEGIN)
            try:
                cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(name))
            except errors.UndefinedTable:
                raise ServiceError("unknown_dataset", "the dataset was deleted") from None
            cursor.execute(
                sql.SQL("SELECT min(ingest_seq), max(ingest_seq) FROM {} WHERE ingest_seq <= %s").format(name),
                (upto_seq,),
            )
            first, last = cursor.fetchone()
        found = connection.execute(
            sa.text("SELECT columns, revision FROM core.dataset WHERE id = :id AND deleted_at IS NULL"),
            {"id": dataset_id},
        ).one_or_none()
        if found is None:
            raise ServiceError("unknown_dataset", "the dataset was deleted")
        return Table(
            dataset_id=dataset_id,
            revision=found.revision,
            schema=dataset_records.schema_of(found.columns),
            physical=tuple(column["physical"] for column in found.columns),
            first_seq=first or 1,
            last_seq=last or 0,
            upto_seq=upto_seq,
            block_rows=self._block_rows,
        )
