"""What training costs, in Postgres. Days are UTC, as every session of ours is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.adapters.postgres.sql import run
from trainyard.contracts.costs import (
    LEAST_TIMED_SECONDS,
    MOST_TIMED_SECONDS,
    TIMED_RUNS,
    Costs,
    InstanceCosts,
    RunCosts,
    TrainingTime,
)

if TYPE_CHECKING:
    from datetime import date

    import sqlalchemy as sa

_TIMES = """
    SELECT r.instance_types, r.spot, CAST(avg(u.seconds) AS float8) AS mean_seconds, count(*) AS runs
    FROM (SELECT request_id, least(greatest(extract(epoch FROM ended_at - started_at), :least), :most) AS seconds
          FROM core.run WHERE state = 'done' AND ended_at IS NOT NULL AND reproduction IS NULL
          ORDER BY ended_at DESC LIMIT :runs) u
    JOIN core.training_request r ON r.id = u.request_id
    GROUP BY r.instance_types, r.spot ORDER BY r.instance_types, r.spot"""
_SETTLE = """
    UPDATE core.run u
    SET cost_usd = greatest(extract(epoch FROM u.ended_at - u.started_at), 0) / 3600.0 * l.usd_per_hour
    FROM core.launch l
    WHERE l.instance_id = u.instance_id AND l.usd_per_hour IS NOT NULL
          AND u.cost_usd IS NULL AND u.ended_at > clock_timestamp() - interval '7 days'"""
_OF_RUNS = """
    SELECT CAST(u.ended_at AS date) AS day, m.name AS model,
           coalesce(u.instance_type, l.instance_type) AS instance_type,
           count(*) AS runs, CAST(sum(greatest(extract(epoch FROM u.ended_at - u.started_at), 0)) AS float8) AS seconds,
           CAST(sum(u.cost_usd) AS float8) AS usd, count(*) FILTER (WHERE u.cost_usd IS NULL) AS unpriced_runs
    FROM core.run u JOIN core.training_request r ON r.id = u.request_id JOIN core.model m ON m.id = r.model_id
    LEFT JOIN LATERAL (SELECT instance_type FROM core.launch WHERE instance_id = u.instance_id LIMIT 1) l ON true
    WHERE u.ended_at >= CAST(:first AS date) AND u.ended_at < CAST(:last AS date) + 1
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
_OF_INSTANCES = """
    SELECT CAST(d.day AS date) AS day, l.instance_type, l.market, count(*) AS instances,
           CAST(sum(p.hours) AS float8) AS hours, CAST(sum(p.hours * l.usd_per_hour) AS float8) AS usd
    FROM generate_series(CAST(:first AS timestamp), CAST(:last AS timestamp), interval '1 day') AS d (day)
    JOIN core.launch l ON l.launched_at IS NOT NULL AND l.launched_at < d.day + interval '1 day'
         AND coalesce(l.ended_at, clock_timestamp()) > d.day
    CROSS JOIN LATERAL (SELECT extract(epoch FROM
        least(coalesce(l.ended_at, clock_timestamp()), d.day + interval '1 day') - greatest(l.launched_at, d.day)
        ) / 3600.0 AS hours) p
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""


class PostgresCosts(Costs):
    """``core.run`` with the prices of ``core.launch``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def training_times(self) -> list[TrainingTime]:
        """Average the newest finished runs."""
        bounds = {"least": LEAST_TIMED_SECONDS, "most": MOST_TIMED_SECONDS, "runs": TIMED_RUNS}
        return [TrainingTime(**row) for row in run(self._connection, _TIMES, **bounds).mappings()]

    def settle(self) -> int:
        """Multiply seconds and price where both are known."""
        return run(self._connection, _SETTLE).rowcount

    def of_runs(self, first: date, last: date) -> list[RunCosts]:
        """Add up runs by day, model and type."""
        return [RunCosts(**row) for row in run(self._connection, _OF_RUNS, first=first, last=last).mappings()]

    def of_instances(self, first: date, last: date) -> list[InstanceCosts]:
        """Add up instances by day, type and market."""
        found = run(self._connection, _OF_INSTANCES, first=first, last=last)
        return [InstanceCosts(**row) for row in found.mappings()]

    def today(self) -> date:
        """Ask the database."""
        day: date = run(self._connection, "SELECT CAST(clock_timestamp() AS date)").scalar_one()
        return day
