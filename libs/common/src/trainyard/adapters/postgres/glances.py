"""Several models at once: the statements of the rooms, each run for all models in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres import monitoring_sql, registry, requests_sql
from trainyard.adapters.postgres.monitoring import window_of
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.glances import Glance, Glances
from trainyard.contracts.monitoring import Alarm, Traffic
from trainyard.contracts.requests import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from trainyard.contracts.registry import ModelRecord

_EACH = """
    SELECT asked.id AS of_model, told.*
    FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY asked (id, place)
    CROSS JOIN LATERAL (SELECT *, row_number() OVER () AS told_place FROM ({about_each}) it) told
    ORDER BY asked.place, told.told_place"""


class PostgresGlances(Glances):
    """A LATERAL join of the models' numbers with what a room asks of one."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def of(self, models: Sequence[ModelRecord], *, windows: int, hours: int) -> list[Glance]:
        """Ask six questions, however many models there are."""
        ids = [model.id for model in models]

        def each(statement: str, read: Callable[..., Any], **values: Any) -> dict[int, list[Any]]:
            return self._each(ids, statement, read, **values)

        versions = each(registry.NEWEST_VERSIONS, registry.version_of, limit=1)
        decisions = each(requests_sql.NEWEST_DECISIONS, Decision, limit=1)
        alarms = each(monitoring_sql.NEWEST_ALARMS, Alarm, limit=1)
        drift = each(monitoring_sql.NEWEST_WINDOWS, window_of, detector="drift", limit=1)
        judged = each(monitoring_sql.NEWEST_WINDOWS, window_of, detector="quality", limit=windows)
        traffic = each(monitoring_sql.TRAFFIC, Traffic, hours=hours)
        return [
            Glance(
                model=model,
                version=next(iter(versions[model.id]), None),
                decision=next(iter(decisions[model.id]), None),
                alarm=next(iter(alarms[model.id]), None),
                drift=next(iter(drift[model.id]), None),
                judged=judged[model.id],
                traffic=traffic[model.id],
            )
            for model in models
        ]

    def _each(
        self, ids: Sequence[int], statement: str, read: Callable[..., Any], **values: Any
    ) -> dict[int, list[Any]]:
        """Return what a room's statement about ``:model_id`` finds for each of the models, in its order."""
        about_each = statement.replace(":model_id", "asked.id")
        found = run(self._connection, _EACH.format(about_each=about_each), ids=list(ids), **values)
        made: dict[int, list[Any]] = {ident: [] for ident in ids}
        for row in found.mappings():
            own = {name: value for name, value in row.items() if name not in {"of_model", "told_place"}}
            made[row["of_model"]].append(read(**own))
        return made
