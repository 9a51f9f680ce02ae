"""Which batch is reported on next, and where its report goes."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from trainyard import logs
from trainyard.adapters.postgres import dataset_records, ledger
from trainyard.adapters.postgres.copying import table_of
from trainyard.adapters.postgres.engine import is_transient, transaction
from trainyard.adapters.postgres.keeping.deleted import unless_deleted
from trainyard.adapters.postgres.keeping.report import Examiner, Span
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.keeping import BatchQuality, missing_of
from trainyard.dataset_profile import merged
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from trainyard.contracts.warehouse import Dataset

_STATEMENT_SECONDS = 30
_LOCK_CLASS = 7_214_881
_log = logs.get(__name__)
#: The oldest batch of each dataset that waits for its report, so that levels are met in the order of the rows.
_WAITING = """
    SELECT b.id::text, d.id AS dataset_id, b.row_count, b.rejected_count, b.first_seq, b.removed_count,
           b.checksum IS NOT NULL AS summed
    FROM core.dataset d CROSS JOIN LATERAL (
        SELECT * FROM core.batch WHERE dataset_id = d.id AND state = 'committed' AND reported_at IS NULL
        ORDER BY first_seq LIMIT 1) b
    WHERE d.deleted_at IS NULL ORDER BY b.created_at"""
#: Nothing is kept when rows went, or columns changed, while they were looked at: the batch waits again.
_KEEP = """
    UPDATE core.batch SET report = CAST(:report AS jsonb), reported_at = clock_timestamp(),
           checksum = coalesce(checksum, CAST(:checksum AS numeric)),
           checksum_columns = CASE WHEN checksum IS NULL THEN :columns ELSE checksum_columns END
    WHERE id = CAST(:id AS uuid) AND reported_at IS NULL AND removed_count = :removed"""


def take_report(engine: sa.Engine) -> bool:
    """Report on the first batch that nobody else reports on just now."""
    with transaction(engine) as connection:
        waiting = run(connection, _WAITING).all()
    for batch in waiting:
        with unless_deleted():
            if _report_on(engine, batch):
                return True
    return False


def _report_on(engine: sa.Engine, batch: Any) -> bool:
    """Make the batch's report; False: another process is making one for this dataset."""
    with transaction(engine) as connection:
        dataset = dataset_records.by_id(connection, batch.dataset_id)
    with _alone(engine, dataset) as cursor:
        if cursor is None:
            return False
        report, checksum = _examine(cursor, dataset, batch)
    if _keep(engine, dataset, batch, report, checksum):
        _log.info("batch.reported", dataset=dataset.name, batch=batch.id, rows=report["rows"])
    return True


def _examine(cursor: Any, dataset: Dataset, batch: Any) -> tuple[dict[str, Any], Any]:
    span = Span(batch.first_seq, batch.first_seq + batch.row_count - 1)
    examiner = Examiner(cursor, dataset, span)
    checksum = None if batch.summed else examiner.checksum()
    counts = {
        "rows": batch.row_count - batch.removed_count,
        "rejected": batch.rejected_count,
        "removed": batch.removed_count,
    }
    return {**counts, **examiner.examine()}, checksum


def _keep(engine: sa.Engine, dataset: Dataset, batch: Any, report: dict[str, Any], checksum: Any) -> bool:
    with transaction(engine) as connection:
        # A change of the columns' types holds the table to itself: it is over, or it comes after this and takes back.
        cursor: Any = connection.connection.cursor()
        cursor.execute(sql.SQL("SELECT FROM {} LIMIT 0").format(table_of(dataset)))
        if dataset_records.by_id(connection, dataset.id).revision != dataset.revision:
            return False
        kept = run(
            connection,
            _KEEP,
            id=batch.id,
            report=json.dumps(report, allow_nan=False),
            checksum=None if checksum is None else str(checksum),
            columns=len(dataset.schema.columns),
            removed=batch.removed_count,
        )
        return bool(kept.rowcount)


@contextmanager
def _alone(engine: sa.Engine, dataset: Dataset) -> Iterator[Any]:
    """Yield a cursor outside any transaction, so that no table stays locked; None when another process has the turn."""
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            cursor: Any = connection.connection.cursor()
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_CLASS, dataset.id))
            if not cursor.fetchone()[0]:
                yield None
                return
            try:
                # Reports can wait: one core is enough for them, and statements end in time.
                cursor.execute(
                    f"SET statement_timeout = '{_STATEMENT_SECONDS}s'; SET max_parallel_workers_per_gather = 0"
                )
                yield cursor
            finally:
                if not cursor.connection.closed:
                    cursor.execute("RESET statement_timeout; RESET max_parallel_workers_per_gather")
                    cursor.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCK_CLASS, dataset.id))
    except (DBAPIError, PoolTimeoutError, psycopg2.Error) as e:
        if is_transient(e):
            raise TransientError("the database does not answer just now") from e
        raise


def report(engine: sa.Engine, batch_id: str) -> dict[str, Any] | None:
    """Return the report with the time it was made."""
    with transaction(engine) as connection:
        row = run(
            connection,
            "SELECT report, reported_at, checksum::text FROM core.batch WHERE id = CAST(:id AS uuid)",
            id=batch_id,
        ).one_or_none()
    if row is None or row.report is None:
        return None
    return {**_read(row.report), "checksum": row.checksum, "reported_at": row.reported_at.isoformat()}


def profile(engine: sa.Engine, dataset: Dataset, most: int) -> dict[str, Any]:
    """Join the reports of the newest batches."""
    with transaction(engine) as connection:
        counted = run(
            connection,
            "SELECT count(*) AS batches, count(reported_at) AS reported FROM core.batch"
            " WHERE dataset_id = :id AND state = 'committed' AND row_count > removed_count",
            id=dataset.id,
        ).one()
        found = run(
            connection,
            "SELECT id::text, report FROM core.batch WHERE dataset_id = :id AND state = 'committed'"
            " AND row_count > removed_count AND report IS NOT NULL ORDER BY first_seq DESC LIMIT :most",
            id=dataset.id,
            most=most,
        ).all()
        levels = run(
            connection,
            "SELECT position, count(*) AS n FROM core.level WHERE dataset_id = :id GROUP BY 1",
            id=dataset.id,
        ).all()
    names = dataset.schema.names
    reports = [_read(row.report) for row in found]
    return {
        "name": dataset.name,
        "rows": dataset.rows,
        "batches": counted.batches,
        "reported": counted.reported,
        "merged": len(found),
        "sampled": any(one["sampled"] for one in reports),
        "columns": merged(dataset.schema, reports, {names[row.position - 1]: row.n for row in levels}),
        "newest": None if not found else {"batch": found[0].id, "report": reports[0]},
    }


#: Of a report only what is asked for: levels and bins would be most of it.
_QUALITY = """
    SELECT b.id::text, b.created_at, b.state, b.row_count, b.rejected_count,
           CASE WHEN b.report IS NOT NULL THEN jsonb_build_object('seen', b.report -> 'seen', 'columns', (
               SELECT jsonb_agg(jsonb_build_object('name', c -> 'name', 'nulls', c -> 'nulls'))
               FROM jsonb_array_elements(b.report -> 'columns') c)) END AS report
    FROM core.batch b WHERE b.dataset_id = :id AND (CAST(:after AS uuid) IS NULL OR (b.created_at, b.id) <
        (SELECT a.created_at, a.id FROM core.batch a WHERE a.id = CAST(:after AS uuid)))
    ORDER BY b.created_at DESC, b.id DESC LIMIT :limit"""


def quality(engine: sa.Engine, dataset: Dataset, *, limit: int, after: str | None) -> list[BatchQuality]:
    """Return how good the rows of the batches were, newest first."""
    with transaction(engine) as connection:
        if after is not None:
            ledger.one(connection, after, dataset)
        found = run(connection, _QUALITY, id=dataset.id, after=after, limit=limit).all()
    return [
        BatchQuality(row.id, row.created_at, row.state, row.row_count, row.rejected_count, *missing_of(row.report))
        for row in found
    ]


def _read(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a report as it was made: jsonb gives large floats back as whole numbers."""
    for column in stored["columns"]:
        floats = ("min", "max", "mean", "std") if column["type"] == "float" else ("mean", "std")
        column.update({name: float(column[name]) for name in floats if column[name] is not None})
    return stored
