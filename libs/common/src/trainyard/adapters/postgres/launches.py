"""The fleet's ledger in Postgres."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres.sql import run
from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.launches import Failure, Launch, Launches, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from trainyard.contracts.fleet import Instance

#: Any constant works, as long as nobody else locks it in this database.
_LOCK = 7_214_880_333
_MAX_ERROR_CHARS = 4_000
_LAUNCH = """
    SELECT id::text, state, instance_id, instance_types, spot, on_demand, created_at, instance_type, zone, market,
           usd_per_hour,
           CAST(extract(epoch FROM clock_timestamp() - coalesce(launched_at, created_at)) AS float8) AS age
    FROM core.launch"""
_FAILURES = """
    SELECT f.instance_types, f.spot, f.on_demand, count(*) AS failed,
           CAST(extract(epoch FROM clock_timestamp() - max(f.ended_at)) AS float8) AS ago,
           (array_agg(coalesce(f.error_kind, 'capacity') ORDER BY f.ended_at DESC))[1] AS kind,
           (array_agg(coalesce(f.error, '') ORDER BY f.ended_at DESC))[1] AS error
    FROM core.launch f
    LEFT JOIN (SELECT instance_types, spot, on_demand, max(created_at) AS at FROM core.launch
               WHERE launched_at IS NOT NULL AND created_at > clock_timestamp() - interval '1 day'
               GROUP BY instance_types, spot, on_demand) good
        ON (good.instance_types, good.spot, good.on_demand) = (f.instance_types, f.spot, f.on_demand)
    WHERE f.state = 'failed' AND f.created_at > clock_timestamp() - interval '1 day'
          AND f.created_at > coalesce(good.at, '-infinity')
    GROUP BY f.instance_types, f.spot, f.on_demand
    ORDER BY f.instance_types, f.spot, f.on_demand"""
_USAGE = """
    SELECT CAST(coalesce(sum(hours), 0) AS float8) AS hours,
           CAST(coalesce(sum(hours * usd_per_hour), 0) AS float8) AS usd,
           CAST(coalesce(sum(hours) FILTER (WHERE usd_per_hour IS NULL), 0) AS float8) AS unpriced_hours
    FROM (SELECT usd_per_hour, extract(epoch FROM coalesce(ended_at, clock_timestamp()) - greatest(launched_at,
                 date_trunc('day', clock_timestamp(), 'UTC'))) / 3600.0 AS hours
          FROM core.launch WHERE launched_at IS NOT NULL
               AND (ended_at IS NULL OR ended_at > date_trunc('day', clock_timestamp(), 'UTC'))) today"""


class PostgresLaunches(Launches):
    """``core.launch`` and ``core.fleet_notice``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def lock(self) -> None:
        """Take the advisory lock, until the transaction's end."""
        run(self._connection, "SELECT pg_advisory_xact_lock(:lock)", lock=_LOCK)

    def open(self) -> list[Launch]:
        """Return what is not over, oldest first."""
        found = run(self._connection, f"{_LAUNCH} WHERE state IN ('asked', 'launched') ORDER BY created_at, id")
        return [_launch(row) for row in found]

    def of_instances(self, instance_ids: Sequence[str]) -> list[Launch]:
        """Return what became these instances, oldest first."""
        found = run(
            self._connection, f"{_LAUNCH} WHERE instance_id = ANY(:ids) ORDER BY created_at, id", ids=list(instance_ids)
        )
        return [_launch(row) for row in found]

    def failures(self) -> list[Failure]:
        """Count failures that no later launch of the same spec has made good."""
        return [
            Failure(_spec(row), row.failed, row.ago, row.kind, row.error) for row in run(self._connection, _FAILURES)
        ]

    def usage(self) -> Usage:
        """Add up the part of every instance's life that is today."""
        return Usage(**run(self._connection, _USAGE).mappings().one())

    def ask(self, spec: LaunchSpec, reason: str) -> str:
        """Insert a launch."""
        ident = str(uuid.uuid4())
        run(
            self._connection,
            "INSERT INTO core.launch (id, instance_types, spot, on_demand, reason, created_at)"
            " VALUES (CAST(:id AS uuid), :instance_types, :spot, :on_demand, :reason, clock_timestamp())",
            id=ident,
            instance_types=list(spec.instance_types),
            spot=spec.spot,
            on_demand=spec.on_demand,
            reason=reason,
        )
        return ident

    def claim(self, launch_id: str, seconds: float) -> Launch | None:
        """Set the time until which the row is ours."""
        claimed = run(
            self._connection,
            "UPDATE core.launch SET claimed_until = clock_timestamp() + make_interval(secs => :seconds)"
            " WHERE id = CAST(:id AS uuid) AND state = 'asked'"
            " AND coalesce(claimed_until <= clock_timestamp(), true)",
            id=launch_id,
            seconds=seconds,
        )
        if not claimed.rowcount:
            return None
        return _launch(run(self._connection, f"{_LAUNCH} WHERE id = CAST(:id AS uuid)", id=launch_id).one())

    def unclaim(self, launch_id: str) -> None:
        """Clear that time."""
        run(
            self._connection,
            "UPDATE core.launch SET claimed_until = NULL WHERE id = CAST(:id AS uuid)",
            id=launch_id,
        )

    def launched(self, launch_id: str, instance: Instance, usd_per_hour: float | None) -> None:
        """Note the instance."""
        run(
            self._connection,
            "UPDATE core.launch SET state = 'launched', instance_id = :instance_id, instance_type = :instance_type,"
            " zone = :zone, market = :market, usd_per_hour = :usd_per_hour, launched_at = clock_timestamp(),"
            " ended_at = NULL, error = NULL, error_kind = NULL"
            " WHERE id = CAST(:id AS uuid) AND state IN ('asked', 'failed')",
            id=launch_id,
            instance_id=instance.instance_id,
            instance_type=instance.instance_type,
            zone=instance.zone,
            market=instance.market,
            usd_per_hour=usd_per_hour,
        )

    def failed(self, launch_id: str, kind: str, error: str) -> None:
        """Note the refusal."""
        run(
            self._connection,
            "UPDATE core.launch SET state = 'failed', error_kind = :kind, error = :error, ended_at = clock_timestamp()"
            " WHERE id = CAST(:id AS uuid) AND state = 'asked'",
            id=launch_id,
            kind=kind,
            error=error[:_MAX_ERROR_CHARS],
        )

    def ended(self, launch_ids: Sequence[str], reason: str) -> None:
        """Note that the instances are gone."""
        run(
            self._connection,
            "UPDATE core.launch SET state = 'ended', ended_at = clock_timestamp(), reason = :reason"
            " WHERE id = ANY(CAST(:ids AS uuid[])) AND state IN ('asked', 'launched')",
            ids=list(launch_ids),
            reason=reason,
        )

    def first_today(self, notice: str) -> bool:
        """Write the day down, unless it stands there."""
        written = run(
            self._connection,
            "INSERT INTO core.fleet_notice AS n (kind, day) VALUES (:kind, CAST(clock_timestamp() AS date))"
            " ON CONFLICT (kind) DO UPDATE SET day = excluded.day WHERE n.day <> excluded.day",
            kind=notice,
        )
        return written.rowcount == 1


def _spec(row: Any) -> LaunchSpec:
    return LaunchSpec(tuple(row.instance_types), row.spot, row.on_demand)


def _launch(row: Any) -> Launch:
    return Launch(
        id=row.id,
        state=row.state,
        instance_id=row.instance_id,
        spec=_spec(row),
        age=row.age,
        created_at=row.created_at,
        instance_type=row.instance_type,
        zone=row.zone,
        market=row.market,
        usd_per_hour=row.usd_per_hour,
    )
