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

    def post(self, queue: str, message: Message) -> None:
        """Add a message and wake the relay at COMMIT."""
        journal.post(self._connection, queue, message)

    def take(self, limit: int) -> list[Waiting]:
        """Lock the oldest waiting rows of each queue that nobody else has locked."""
        found = run(
            self._connection,
            """
            SELECT o.id, o.queue, o.type, o.body FROM (VALUES ('training'), ('arrived'), ('predictions')) q (name),
            LATERAL (SELECT id, queue, type, body FROM core.outbox WHERE sent_at IS NULL AND queue = q.name
                     ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED) o""",
            limit=limit,
        )
        return [Waiting(row.id, row.queue, Outgoing(row.type, row.body)) for row in found]

    def mark_sent(self, ids: Sequence[int]) -> None:
        """Note that these were sent."""
        run(self._connection, "UPDATE core.outbox SET sent_at = now() WHERE id = ANY(:ids)", ids=list(ids))

    def waiting(self, queue: str) -> list[Outgoing]:
        """Return what waits, oldest first."""
        found = run(
            self._connection,
            "SELECT type, body FROM core.outbox WHERE sent_at IS NULL AND queue = :queue ORDER BY id",
            queue=queue,
        )
        return [Outgoing(row.type, row.body) for row in found]
