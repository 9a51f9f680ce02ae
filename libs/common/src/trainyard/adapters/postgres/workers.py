"""Workers in Postgres: the row that each trainer keeps fresh, and its readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.workers import Attendance, WorkerRecord, Workers

if TYPE_CHECKING:
    import sqlalchemy as sa


class PostgresAttendance(Attendance):
    """Writes ``core.worker``, each word in a transaction of its own."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def seen(
        self, worker: str, instance_id: str | None, instance_type: str | None, state: str, request_id: str | None
    ) -> None:
        """Insert or renew the row; a process id that was used before is another worker."""
        with transaction(self._engine) as connection:
            run(
                connection,
                """
                INSERT INTO core.worker AS w (id, instance_id, instance_type, state, request_id, started_at, seen_at)
                VALUES (:id, :instance_id, :instance_type, :state, CAST(:request_id AS uuid),
                        clock_timestamp(), clock_timestamp())
                ON CONFLICT (id) DO UPDATE SET
                    instance_id = excluded.instance_id, instance_type = excluded.instance_type,
                    state = excluded.state, request_id = excluded.request_id, seen_at = excluded.seen_at,
                    started_at = CASE WHEN w.state = 'ended' OR w.instance_id IS DISTINCT FROM excluded.instance_id
                                      THEN excluded.started_at ELSE w.started_at END""",
                id=worker,
                instance_id=instance_id,
                instance_type=instance_type,
                state=state,
                request_id=request_id,
            )

    def ended(self, worker: str) -> None:
        """Note the end."""
        with transaction(self._engine) as connection:
            run(
                connection,
                "UPDATE core.worker SET state = 'ended', request_id = NULL, seen_at = clock_timestamp() WHERE id = :id",
                id=worker,
            )


class PostgresWorkers(Workers):
    """Reads ``core.worker``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def all(self, seen_within_seconds: float) -> list[WorkerRecord]:
        """Return those that were seen lately."""
        found = run(
            self._connection,
            """
            SELECT id, instance_id, instance_type, state, request_id::text, started_at, seen_at,
                   CAST(extract(epoch FROM clock_timestamp() - started_at) AS float8) AS up,
                   CAST(extract(epoch FROM clock_timestamp() - seen_at) AS float8) AS silent
            FROM core.worker WHERE seen_at >= clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY started_at, id""",
            seconds=seen_within_seconds,
        )
        return [WorkerRecord(**row) for row in found.mappings()]
