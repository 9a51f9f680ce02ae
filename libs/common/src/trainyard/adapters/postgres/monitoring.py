"""Alarms in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.adapters.postgres.sql import run
from trainyard.contracts.monitoring import Alarm, Alarms

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa


class PostgresAlarms(Alarms):
    """``core.alarm``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def open(self, model_id: int) -> list[Alarm]:
        """Return the open alarms."""
        found = run(
            self._connection,
            "SELECT id, detector, window_id, reason, numbers, raised_at, request_id::text, outcome FROM core.alarm"
            " WHERE model_id = :model_id AND settled_at IS NULL ORDER BY id",
            model_id=model_id,
        )
        return [Alarm(**row) for row in found.mappings()]

    def settle(self, ids: Sequence[int], *, outcome: str, request_id: str | None) -> None:
        """Note what came of them."""
        run(
            self._connection,
            "UPDATE core.alarm SET settled_at = clock_timestamp(), outcome = :outcome,"
            " request_id = CAST(:request_id AS uuid) WHERE id = ANY(:ids) AND settled_at IS NULL",
            ids=list(ids),
            outcome=outcome,
            request_id=request_id,
        )
