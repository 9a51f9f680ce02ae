"""The counts in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.adapters.postgres.sql import run
from trainyard.contracts.tallies import Tallies, Tally

if TYPE_CHECKING:
    import sqlalchemy as sa


class PostgresTallies(Tallies):
    """Counts rows where they stand; nothing is kept beside them that could differ."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def tally(self) -> Tally:
        """Count."""
        oldest: float = run(
            self._connection,
            "SELECT CAST(coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS float8)"
            " FROM core.training_request WHERE state = 'queued'",
        ).scalar_one()
        return Tally(
            requests=self._counts("SELECT state AS name, count(*) AS rows FROM core.training_request GROUP BY state"),
            request_oldest_seconds=oldest,
            runs=self._counts("SELECT state AS name, count(*) AS rows FROM core.run GROUP BY state"),
            launches=self._counts(
                "SELECT state AS name, count(*) AS rows FROM core.launch WHERE state IN ('asked', 'launched')"
                " GROUP BY state"
            ),
            outbox=self._counts(
                "SELECT queue AS name, count(*) AS rows FROM core.outbox WHERE sent_at IS NULL GROUP BY queue"
            ),
        )

    def _counts(self, query: str) -> dict[str, int]:
        return {row.name: row.rows for row in run(self._connection, query)}
