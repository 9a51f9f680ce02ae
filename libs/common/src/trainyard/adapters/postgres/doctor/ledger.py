"""Counting and hashing again: the datasets' rows against the ledger, and the audit log against its chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from trainyard.adapters.postgres.journal import audit_hash
from trainyard.adapters.postgres.sql import run
from trainyard.doctor.evidence import Audit, Ledger, LedgerGap
from trainyard.doctor.report import MOST_LISTED

if TYPE_CHECKING:
    import sqlalchemy as sa

_PAGE = 5_000
_GAPS = sql.SQL(
    """
    SELECT b.id::text, b.row_count, coalesce(r.n, 0), b.checksum::text, coalesce(r.checksum, 0)::text
    FROM core.batch b LEFT JOIN (
        SELECT batch_id, count(*) AS n, sum(hash_record_extended(ROW({columns}), 0)) AS checksum
        FROM {table} WHERE ingest_seq >= %(first)s GROUP BY batch_id) r ON r.batch_id = b.id
    WHERE b.dataset_id = %(dataset)s AND b.state = 'committed' AND coalesce(b.first_seq, %(first)s) >= %(first)s
          AND (b.row_count <> coalesce(r.n, 0) OR b.checksum <> coalesce(r.checksum, 0))
    ORDER BY b.first_seq LIMIT %(limit)s"""
)
_STRAYS = sql.SQL(
    """
    SELECT count(*) FROM {table} t
    JOIN core.dataset d ON d.id = %(dataset)s
    LEFT JOIN core.batch b ON b.id = t.batch_id AND b.state = 'committed'
              AND t.ingest_seq BETWEEN b.first_seq AND b.last_seq
    WHERE t.ingest_seq >= %(first)s AND (b.id IS NULL OR t.ingest_seq > d.last_seq)"""
)
#: The first row of the newest batches that hold at least so many rows together, and how many rows they hold.
_NEWEST = """
    SELECT coalesce(min(first_seq), 1) AS first, coalesce(sum(row_count), 0)::bigint AS rows FROM (
        SELECT first_seq, row_count, sum(row_count) OVER (ORDER BY first_seq DESC) - row_count AS newer
        FROM core.batch WHERE dataset_id = :dataset AND state = 'committed' AND first_seq IS NOT NULL) b
    WHERE CAST(:most AS bigint) IS NULL OR newer < :most"""


def ledger(connection: sa.Connection, most_rows: int | None) -> Ledger:
    """Count and hash the rows of every dataset; each dataset has an equal share of ``most_rows``."""
    datasets = list(
        run(
            connection,
            "SELECT d.id, d.name, d.columns, to_regclass('data_.t_' || d.id) IS NOT NULL AS there,"
            " (SELECT coalesce(sum(row_count), 0)::bigint FROM core.batch WHERE dataset_id = d.id"
            "  AND state = 'committed') AS rows"
            " FROM core.dataset d WHERE d.deleted_at IS NULL ORDER BY d.name",
        )
    )
    share = None if most_rows is None else max(1, most_rows // max(1, len(datasets)))
    gaps: list[LedgerGap] = []
    strays: list[str] = []
    seen = 0
    for dataset in datasets:
        if not dataset.there:
            strays.append(f"dataset {dataset.name}: its table is gone")
            continue
        newest = run(connection, _NEWEST, dataset=dataset.id, most=share).one()
        seen += newest.rows
        first = 0 if newest.rows >= dataset.rows else newest.first
        gaps += _gaps(connection, dataset, first, MOST_LISTED + 1 - len(gaps))
        table = sql.Identifier("data_", f"t_{dataset.id}")
        ((count,),) = _rows(connection, _STRAYS.format(table=table), dataset=dataset.id, first=first)
        if count:
            strays.append(f"dataset {dataset.name}: {count:,} rows belong to no committed batch")
    return Ledger(gaps, strays, seen, sum(dataset.rows for dataset in datasets))


def _gaps(connection: sa.Connection, dataset: Any, first: int, limit: int) -> list[LedgerGap]:
    columns = sql.SQL(", ").join(sql.Identifier(column["physical"]) for column in dataset.columns)
    query = _GAPS.format(columns=columns, table=sql.Identifier("data_", f"t_{dataset.id}"))
    found = _rows(connection, query, dataset=dataset.id, first=first, limit=max(0, limit))
    return [LedgerGap(dataset.name, *row) for row in found]


def audit(connection: sa.Connection, most: int | None) -> Audit:
    """Compute every hash again, a page at a time, from the oldest of the newest ``most`` entries."""
    last = run(connection, "SELECT coalesce(max(id), 0) FROM core.audit").scalar_one()
    number = 0 if most is None else max(0, last - most)
    previous = bytes(32)
    if number:
        before = run(connection, "SELECT hash FROM core.audit WHERE id = :id", id=number).scalar_one_or_none()
        previous = previous if before is None else bytes(before)
    seen = last - number
    breaks: list[str] = []
    while True:
        page = run(
            connection,
            "SELECT id, at, actor, action, subject, details, previous_hash, hash FROM core.audit"
            " WHERE id > :number AND id <= :last ORDER BY id LIMIT :limit",
            number=number,
            last=last,
            limit=_PAGE,
        ).all()
        for row in page:
            if row.id != number + 1:
                breaks.append(f"audit entries {number + 1} to {row.id - 1} are missing")
            if bytes(row.previous_hash) != previous or _hash(row) != bytes(row.hash):
                breaks.append(f"audit entry {row.id} ({row.action} of {row.subject}) was changed")
            number, previous = row.id, bytes(row.hash)
        if len(page) < _PAGE:
            return Audit(breaks, seen, last)


def _rows(connection: sa.Connection, query: sql.Composable, **values: Any) -> list[Any]:
    """Execute on the driver itself, which knows how to quote names."""
    cursor: Any = connection.connection.cursor()
    cursor.execute(query, values)
    return list(cursor.fetchall())


def _hash(row: Any) -> bytes:
    entry = {
        "id": row.id,
        "at": row.at.isoformat(),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "details": row.details,
    }
    return audit_hash(bytes(row.previous_hash), entry)
