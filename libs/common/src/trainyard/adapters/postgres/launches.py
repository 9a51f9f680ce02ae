"""The fleet's ledger in Postgres."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres.sql import run
from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.launches import Failures, Launch, Launches

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

#: Any constant works, as long as nobody else locks it in this database.
_LOCK = 7_214_880_333
_LAUNCH = """
    SELECT id::text, state, instance_id, instance_types, spot, created_at,
           CAST(extract(epoch FROM clock_timestamp() - coalesce(launched_at, created_at)) AS float8) AS age
    FROM core.launch"""


class PostgresLaunches(Launches):
    """``core.launch``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def lock(self) -> None:
        """Take the advisory lock, until the transaction's end."""
        run(self._connection, "SELECT pg_advisory_xact_lock(:lock)", lock=_LOCK)

    def open(self) -> list[Launch]:
        """Return what is not over, oldest first."""
        found = run(self._connection, f"{_LAUNCH} WHERE state IN ('asked', 'launched') ORDER BY created_at, id")
        return [_launch(row) for row in found]

    def failures(self) -> Failures:
        """Count failures that no later launch has made good."""
        row = run(
            self._connection,
            """
            SELECT count(*) AS failed,
                   CAST(coalesce(extract(epoch FROM clock_timestamp() - max(ended_at)), 0) AS float8) AS ago
            FROM core.launch WHERE state = 'failed' AND created_at >
                 coalesce((SELECT max(created_at) FROM core.launch WHERE launched_at IS NOT NULL), '-infinity')""",
        ).one()
        return Failures(row.failed, row.ago)

    def ask(self, spec: LaunchSpec) -> str:
        """Insert a launch."""
        ident = str(uuid.uuid4())
        run(
            self._connection,
            "INSERT INTO core.launch (id, instance_types, spot, created_at)"
            " VALUES (CAST(:id AS uuid), :instance_types, :spot, clock_timestamp())",
            id=ident,
            instance_types=list(spec.instance_types),
            spot=spec.spot,
        )
        return ident

    def take(self, launch_id: str) -> Launch | None:
        """Lock the row unless somebody else has."""
        row = run(
            self._connection,
            f"{_LAUNCH} WHERE id = CAST(:id AS uuid) AND state = 'asked' FOR UPDATE SKIP LOCKED",
            id=launch_id,
        ).one_or_none()
        return None if row is None else _launch(row)

    def launched(self, launch_id: str, instance_id: str, instance_type: str) -> None:
        """Note the instance."""
        run(
            self._connection,
            "UPDATE core.launch SET state = 'launched', instance_id = :instance_id, instance_type = :instance_type,"
            " launched_at = clock_timestamp() WHERE id = CAST(:id AS uuid)",
            id=launch_id,
            instance_id=instance_id,
            instance_type=instance_type,
        )

    def failed(self, launch_id: str, error: str) -> None:
        """Note the refusal."""
        run(
            self._connection,
            "UPDATE core.launch SET state = 'failed', error = :error, ended_at = clock_timestamp()"
            " WHERE id = CAST(:id AS uuid)",
            id=launch_id,
            error=error,
        )

    def ended(self, launch_ids: Sequence[str]) -> None:
        """Note that the instances are gone."""
        run(
            self._connection,
            "UPDATE core.launch SET state = 'ended', ended_at = clock_timestamp()"
            " WHERE id = ANY(CAST(:ids AS uuid[])) AND state IN ('asked', 'launched')",
            ids=list(launch_ids),
        )


def _launch(row: Any) -> Launch:
    spec = LaunchSpec(tuple(row.instance_types), row.spot)
    return Launch(row.id, row.state, row.instance_id, spec, row.age, row.created_at)
