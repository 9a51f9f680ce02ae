"""The outbox in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.adapters.postgres import journal
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.outbox import Outbox, Waiting
from trainyard.contracts.queue import Outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from trainyard.messages import Message


class PostgresOutbox(Outbox):
    """``core.outbox``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def post(self, queue: str, message: Message, *, delay_seconds: int = 0) -> None:
        """Add a message and wake the relay at COMMIT."""
        journal.post(self._connection, queue, message, delay_seconds=delay_seconds)

    def take(self, limit: int, *, hold_seconds: float) -> list[Waiting]:
        """Put our time on the oldest waiting rows of each queue; rows that another relay locks just now are skipped."""
        found = run(
            self._connection,
            """
            WITH ours AS (
                SELECT o.id FROM (VALUES ('training'), ('arrived'), ('predictions')) q (name),
                LATERAL (SELECT id FROM core.outbox WHERE sent_at IS NULL AND queue = q.name
                         AND (taken_until IS NULL OR taken_until < clock_timestamp())
                         ORDER BY id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED) o)
            UPDATE core.outbox o SET taken_until = clock_timestamp() + make_interval(secs => :hold)
            FROM ours WHERE o.id = ours.id RETURNING o.id, o.queue, o.type, o.body, o.delay_seconds""",
            limit=limit,
            hold=hold_seconds,
        )
        waiting = [Waiting(row.id, row.queue, Outgoing(row.type, row.body, row.delay_seconds)) for row in found]
        return sorted(waiting, key=lambda message: message.id)

    def mark_sent(self, ids: Sequence[int]) -> None:
        """Note that these were sent."""
        run(self._connection, "UPDATE core.outbox SET sent_at = clock_timestamp() WHERE id = ANY(:ids)", ids=list(ids))

    def give_back(self, ids: Sequence[int]) -> None:
        """Take our time off."""
        run(self._connection, "UPDATE core.outbox SET taken_until = NULL WHERE id = ANY(:ids)", ids=list(ids))

    def waiting(self, queue: str) -> list[Outgoing]:
        """Return what waits, oldest first."""
        found = run(
            self._connection,
            "SELECT type, body, delay_seconds FROM core.outbox WHERE sent_at IS NULL AND queue = :queue ORDER BY id",
            queue=queue,
        )
        return [Outgoing(row.type, row.body, row.delay_seconds) for row in found]

    def oldest_seconds(self) -> float:
        """Return the age of the oldest waiting row, by the clock of the database."""
        age: float = run(
            self._connection,
            "SELECT CAST(coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS float8)"
            " FROM core.outbox WHERE sent_at IS NULL",
        ).scalar_one()
        return age

    def forget_sent(self, *, older_than_seconds: float) -> int:
        """Delete old sent rows."""
        return run(
            self._connection,
            "DELETE FROM core.outbox WHERE sent_at < now() - make_interval(secs => :seconds)",
            seconds=older_than_seconds,
        ).rowcount
