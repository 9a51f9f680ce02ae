"""What the doctor asks Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.journal import audit_hash
from trainyard.adapters.postgres.registry import PostgresVersions
from trainyard.adapters.postgres.sql import run
from trainyard.doctor import Evidence, JudgedVersion, LedgerGap, StandingAlias, StuckRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import sqlalchemy as sa

_TIMEOUT = "SET LOCAL statement_timeout = '300s'"
_PAGE = 5_000
_GAPS = sql.SQL(
    """
    SELECT b.id::text, b.row_count, coalesce(r.n, 0), b.checksum::text, coalesce(r.checksum, 0)::text
    FROM core.batch b LEFT JOIN (
        SELECT batch_id, count(*) AS n, sum(hash_record_extended(ROW({columns}), 0)) AS checksum
        FROM {table} GROUP BY batch_id) r ON r.batch_id = b.id
    WHERE b.dataset_id = %(dataset)s AND b.state = 'committed'
          AND (b.row_count <> coalesce(r.n, 0) OR b.checksum <> coalesce(r.checksum, 0))
    ORDER BY b.first_seq LIMIT %(limit)s"""
)
_STRAYS = sql.SQL(
    """
    SELECT count(*) FROM {table} t
    JOIN core.dataset d ON d.id = %(dataset)s
    LEFT JOIN core.batch b ON b.id = t.batch_id AND b.state = 'committed'
              AND t.ingest_seq BETWEEN b.first_seq AND b.last_seq
    WHERE b.id IS NULL OR t.ingest_seq > d.last_seq"""
)
_STUCK = """
    SELECT r.id::text, m.name AS model, r.state,
           CASE WHEN r.last_sent_at IS NULL THEN 'its message was never sent'
                WHEN r.state = 'running' AND r.last_sent_at < r.lease_until
                    THEN 'its trainer vanished and it was not sent again'
                WHEN r.last_sent_at < clock_timestamp() - interval '65 minutes' THEN 'it was not sent for an hour'
                ELSE 'it was sent ' || r.send_count || ' times and no trainer took it' END AS why
    FROM core.training_request r JOIN core.model m ON m.id = r.model_id
    WHERE r.state IN ('queued', 'running')
      AND NOT (r.state = 'running' AND coalesce(r.lease_until >= clock_timestamp(), false))
      AND ((r.last_sent_at IS NULL AND r.created_at < clock_timestamp() - interval '1 minute')
           OR (r.state = 'running' AND r.lease_until < clock_timestamp() - interval '1 minute'
               AND r.last_sent_at < r.lease_until)
           OR r.last_sent_at < clock_timestamp() - interval '65 minutes'
           OR (r.attempt = 0 AND r.send_count > 5))
    ORDER BY r.created_at"""

_AGES = """
    SELECT m.name AS model, a.name AS alias,
           CAST(extract(epoch FROM clock_timestamp() - a.updated_at) AS float8) AS seconds
    FROM core.alias a JOIN core.model m ON m.id = a.model_id WHERE m.deleted_at IS NULL"""


class PostgresEvidence(Evidence):
    """Evidence from one database; reads only."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def ledger_gaps(self, limit: int) -> list[LedgerGap]:
        """Count and hash every row, dataset by dataset."""
        gaps: list[LedgerGap] = []
        with transaction(self._engine) as connection:
            run(connection, _TIMEOUT)
            for dataset in _datasets(connection):
                columns = sql.SQL(", ").join(sql.Identifier(column["physical"]) for column in dataset.columns)
                query = _GAPS.format(columns=columns, table=sql.Identifier("data_", f"t_{dataset.id}"))
                found = _rows(connection, query, dataset=dataset.id, limit=limit - len(gaps))
                gaps += [LedgerGap(dataset.name, row[0], row[1], row[2], row[3], row[4]) for row in found]
                if len(gaps) >= limit:
                    break
        return gaps

    def stray_rows(self) -> list[str]:
        """Look for rows without a committed batch, and for datasets without a table."""
        problems = []
        with transaction(self._engine) as connection:
            run(connection, _TIMEOUT)
            for dataset in _datasets(connection):
                query = _STRAYS.format(table=sql.Identifier("data_", f"t_{dataset.id}"))
                ((strays,),) = _rows(connection, query, dataset=dataset.id)
                if strays:
                    problems.append(f"dataset {dataset.name}: {strays:,} rows belong to no committed batch")
            missing = run(
                connection,
                "SELECT name FROM core.dataset WHERE deleted_at IS NULL AND to_regclass('data_.t_' || id) IS NULL",
            ).scalars()
            problems += [f"dataset {name}: its table is gone" for name in missing]
        return problems

    def stuck_requests(self) -> list[StuckRequest]:
        """Return open requests without progress."""
        with transaction(self._engine) as connection:
            return [StuckRequest(row.id, row.model, row.state, row.why) for row in run(connection, _STUCK)]

    def doubled_requests(self) -> list[str]:
        """Return requests with several versions."""
        with transaction(self._engine) as connection:
            found = run(
                connection,
                "SELECT request_id::text AS id, count(*) AS n FROM core.version GROUP BY 1 HAVING count(*) > 1",
            )
            return [f"request {row.id} has {row.n} versions" for row in found]

    def versions(self) -> list[JudgedVersion]:
        """Return all versions with their request's state and fence."""
        with transaction(self._engine) as connection:
            found = run(
                connection,
                "SELECT m.name AS model, v.version, v.request_id::text, v.fence, r.fence AS winner_fence,"
                " r.state AS request_state, v.holdout FROM core.version v JOIN core.model m ON m.id = v.model_id"
                " JOIN core.training_request r ON r.id = v.request_id"
                " WHERE m.deleted_at IS NULL ORDER BY m.name, v.version",
            )
            return [JudgedVersion(**row) for row in found.mappings()]

    def aliases(self) -> Sequence[StandingAlias]:
        """Return every alias."""
        with transaction(self._engine) as connection:
            found = PostgresVersions(connection).published()
            # The ages come second: one that is moved or removed between the two looks counts as moved just now.
            ages = {(row.model, row.alias): row.seconds for row in run(connection, _AGES)}
        return [StandingAlias(alias, ages.get((alias.model, alias.alias), 0.0)) for alias in found]

    def audit_breaks(self) -> Iterator[str]:
        """Compute every hash again, a page at a time."""
        number, previous = 0, bytes(32)
        while True:
            with transaction(self._engine) as connection:
                page = run(
                    connection,
                    "SELECT id, at, actor, action, subject, details, previous_hash, hash FROM core.audit"
                    " WHERE id > :number ORDER BY id LIMIT :limit",
                    number=number,
                    limit=_PAGE,
                ).all()
            for row in page:
                if row.id != number + 1:
                    yield f"audit entries {number + 1} to {row.id - 1} are missing"
                if bytes(row.previous_hash) != previous or _hash(row) != bytes(row.hash):
                    yield f"audit entry {row.id} ({row.action} of {row.subject}) was changed"
                number, previous = row.id, bytes(row.hash)
            if len(page) < _PAGE:
                return


def _datasets(connection: sa.Connection) -> list[Any]:
    return list(
        run(
            connection,
            "SELECT id, name, columns FROM core.dataset"
            " WHERE deleted_at IS NULL AND to_regclass('data_.t_' || id) IS NOT NULL ORDER BY name",
        ).all()
    )


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
