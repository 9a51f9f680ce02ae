"""Retention: rows go, oldest first and a bounded number at a time, once their batch is older than the dataset says."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from trainyard.adapters.postgres import dataset_records, journal
from trainyard.adapters.postgres.copying import table_of
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.keeping.deleted import unless_deleted
from trainyard.adapters.postgres.keeping.removal import Tombstone, conclude, settle
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.keeping import EXPIRED_AT_ONCE

if TYPE_CHECKING:
    import sqlalchemy as sa

    from trainyard.contracts.warehouse import Dataset

ACTOR = "retention"
#: The datasets that forget, and the last row of each that may go: the one before the oldest batch that is not due.
_DUE = """
    SELECT d.id, coalesce((SELECT min(b.first_seq) - 1 FROM core.batch b WHERE b.dataset_id = d.id
           AND b.state = 'committed' AND b.row_count > 0 AND b.created_at >= clock_timestamp() - make_interval(
               secs => 86400 * CAST(d.settings ->> 'retention_days' AS float8))), d.last_seq) AS upto
    FROM core.dataset d WHERE d.deleted_at IS NULL AND d.settings ->> 'retention_days' IS NOT NULL ORDER BY d.id"""
#: A day's removals share a tombstone and an entry of the audit log.
_TODAY = """
    SELECT id::text FROM core.erasure WHERE dataset_id = :id AND kind = 'retention'
    AND at > clock_timestamp() - interval '1 day' ORDER BY at DESC LIMIT 1"""


def expire(engine: sa.Engine) -> int:
    """Remove rows of the first dataset that has some to remove."""
    with transaction(engine) as connection:
        due = [(row.id, row.upto) for row in run(connection, _DUE)]
    for dataset_id, upto in due:
        with unless_deleted():
            gone = _expire(engine, dataset_id, upto)
            if gone:
                return gone
    return 0


def _expire(engine: sa.Engine, dataset_id: int, upto: int) -> int:
    """Remove a piece of the dataset's rows up to ``upto``; its lock is taken only if there are any."""
    with transaction(engine) as connection:
        if _oldest(connection, dataset_records.by_id(connection, dataset_id), upto) is None:
            return 0
        dataset = dataset_records.by_id(connection, dataset_id, "FOR NO KEY UPDATE")
        gone = _delete(connection, dataset, upto)
        if gone:
            stone = _stone(connection, dataset)
            settle(connection, dataset, gone, stone)
            conclude(connection, stone)
        return len(gone)


def _oldest(connection: sa.Connection, dataset: Dataset, upto: int) -> int | None:
    cursor: Any = connection.connection.cursor()
    query = sql.SQL("SELECT min(ingest_seq) FROM {} WHERE ingest_seq <= %s").format(table_of(dataset))
    cursor.execute(query, (upto,))
    oldest: int | None = cursor.fetchone()[0]
    return oldest


def _delete(connection: sa.Connection, dataset: Dataset, upto: int) -> list[int]:
    statement = sql.SQL(
        "DELETE FROM {table} WHERE ingest_seq <= (SELECT max(ingest_seq) FROM ("
        " SELECT ingest_seq FROM {table} WHERE ingest_seq <= %s ORDER BY ingest_seq LIMIT %s) piece)"
        " RETURNING ingest_seq"
    ).format(table=table_of(dataset))
    cursor: Any = connection.connection.cursor()
    cursor.execute(statement, (upto, EXPIRED_AT_ONCE))
    return [seq for (seq,) in cursor.fetchall()]


def _stone(connection: sa.Connection, dataset: Dataset) -> Tombstone:
    """Return today's tombstone of the dataset; the first piece of a day is announced and audited for all of them."""
    today = run(connection, _TODAY, id=dataset.id).scalar_one_or_none()
    if today is not None:
        return Tombstone(today, "retention", ACTOR)
    ident = str(uuid.uuid4())
    subject = f"dataset/{dataset.name}"
    details = {"erasure_id": ident, "retention_days": dataset.settings.retention_days}
    journal.audit(connection, actor=ACTOR, action="dataset.expire", subject=subject, details=details)
    journal.announce(connection, "dataset.expired", subject, details)
    return Tombstone(ident, "retention", ACTOR)
