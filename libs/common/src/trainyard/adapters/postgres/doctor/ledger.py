"""Counting and hashing again: the datasets' rows against the ledger, and the audit log against its chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from trainyard.adapters.postgres.journal import audit_hash
from trainyard.adapters.postgres.sql import run
from trainyard.doctor.evidence import Audit, Ledger, LedgerGap, Unsummed
from trainyard.doctor.report import MOST_LISTED

if TYPE_CHECKING:
    import sqlalchemy as sa

_PAGE = 5_000
#: Batches whose checksum covers the same columns: those that are not as the ledger says, then how many rows all have.
_GAPS = sql.SQL(
    """
    WITH looked AS MATERIALIZED (
        SELECT b.id, b.first_seq, b.row_count - b.removed_count AS rows, b.checksum, r.n, r.checksum AS found
        FROM core.batch b CROSS JOIN LATERAL (
            SELECT count(*) AS n, coalesce(sum(hash_record_extended(ROW({columns}), 0)), 0) AS checksum
            FROM {table} WHERE ingest_seq BETWEEN b.first_seq AND b.last_seq) r
        WHERE b.dataset_id = %(dataset)s AND b.state = 'committed' AND coalesce(b.first_seq, %(first)s) >= %(first)s
              AND coalesce(b.checksum_columns, %(all)s) = %(covered)s),
    gaps AS (
        SELECT id::text, rows, n, coalesce(checksum::text, 'not taken') AS checksum, found::text FROM looked
        WHERE rows <> n OR checksum <> found ORDER BY first_seq LIMIT %(limit)s)
    SELECT * FROM gaps UNION ALL SELECT NULL, 0, coalesce(sum(n), 0)::bigint, NULL, NULL FROM looked"""
)
_ROWS = sql.SQL("SELECT count(*) FROM {table} WHERE ingest_seq >= %(first)s")
#: What the record and the ledger say of each dataset.
_DATASETS = """
    SELECT d.id, d.name, d.columns, d.last_seq, d.removed_rows, to_regclass('data_.t_' || d.id) IS NOT NULL AS there,
           b.rows, b.ends, b.removed, b.unsummed, b.oldest
    FROM core.dataset d CROSS JOIN LATERAL (
        SELECT coalesce(sum(row_count - removed_count), 0)::bigint AS rows, coalesce(max(last_seq), 0) AS ends,
               coalesce(sum(removed_count), 0)::bigint AS removed, count(*) FILTER (WHERE checksum IS NULL) AS unsummed,
               CAST(coalesce(extract(epoch FROM clock_timestamp() - min(coalesce(changed_at, created_at))
                    FILTER (WHERE checksum IS NULL)), 0) AS float8) AS oldest
        FROM core.batch WHERE dataset_id = d.id AND state = 'committed') b
    WHERE d.deleted_at IS NULL ORDER BY d.name"""
#: The first row of the newest batches that hold at least so many rows together, and how many rows they hold.
_NEWEST = """
    SELECT coalesce(min(first_seq), 1) AS first, coalesce(sum(n), 0)::bigint AS rows FROM (
        SELECT first_seq, row_count - removed_count AS n,
               sum(row_count - removed_count) OVER (ORDER BY first_seq DESC) - row_count + removed_count AS newer
        FROM core.batch WHERE dataset_id = :dataset AND state = 'committed' AND first_seq IS NOT NULL) b
    WHERE CAST(:most AS bigint) IS NULL OR newer < :most"""
_COVERED = """
    SELECT DISTINCT coalesce(checksum_columns, :all) FROM core.batch
    WHERE dataset_id = :dataset AND state = 'committed' ORDER BY 1"""


def ledger(connection: sa.Connection, most_rows: int | None) -> Ledger:
    """Count and hash the rows of every dataset; each dataset has an equal share of ``most_rows``."""
    datasets = list(run(connection, _DATASETS))
    share = None if most_rows is None else max(1, most_rows // max(1, len(datasets)))
    gaps: list[LedgerGap] = []
    strays: list[str] = []
    seen = 0
    for dataset in datasets:
        strays += _counters(dataset)
        if not dataset.there:
            strays.append(f"dataset {dataset.name}: its table is gone")
            continue
        newest = run(connection, _NEWEST, dataset=dataset.id, most=share).one()
        seen += newest.rows
        first = 0 if newest.rows >= dataset.rows else newest.first
        found, within = _gaps(connection, dataset, first, MOST_LISTED + 1 - len(gaps))
        gaps += found
        ((count,),) = _rows(connection, _ROWS.format(table=_table(dataset)), first=first)
        if count != within:
            strays.append(f"dataset {dataset.name}: {count - within:,} rows belong to no committed batch")
    unsummed = [Unsummed(d.name, d.unsummed, d.oldest) for d in datasets if d.unsummed]
    return Ledger(gaps, strays, unsummed, seen, sum(dataset.rows for dataset in datasets))


def _counters(dataset: Any) -> list[str]:
    """Compare the numbers in the dataset's record with those of its batches."""
    said = []
    if dataset.last_seq != dataset.ends:
        said.append(
            f"dataset {dataset.name}: its last row is said to be {dataset.last_seq:,},"
            f" the ledger ends with {dataset.ends:,}"
        )
    if dataset.removed_rows != dataset.removed:
        said.append(
            f"dataset {dataset.name}: {dataset.removed_rows:,} rows are said to be removed,"
            f" {dataset.removed:,} in the ledger"
        )
    return said


def _table(dataset: Any) -> sql.Identifier:
    return sql.Identifier("data_", f"t_{dataset.id}")


def _gaps(connection: sa.Connection, dataset: Any, first: int, limit: int) -> tuple[list[LedgerGap], int]:
    """Return the batches that are not as they should be, and how many rows lie within the spans of all."""
    physical = [column["physical"] for column in dataset.columns]
    gaps: list[LedgerGap] = []
    within = 0
    for covered in run(connection, _COVERED, dataset=dataset.id, all=len(physical)).scalars():
        columns = sql.SQL(", ").join(map(sql.Identifier, physical[:covered]))
        query = _GAPS.format(columns=columns, table=_table(dataset))
        *found, (_, _, rows, _, _) = _rows(
            connection,
            query,
            dataset=dataset.id,
            first=first,
            all=len(physical),
            covered=covered,
            limit=max(0, limit - len(gaps)),
        )
        gaps += [LedgerGap(dataset.name, *row) for row in found]
        within += rows
    return gaps, within


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
