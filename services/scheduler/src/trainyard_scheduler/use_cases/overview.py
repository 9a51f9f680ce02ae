"""What a home page says of the first models, in one answer of few and cheap questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_scheduler import views
from trainyard_scheduler.use_cases import quality, traffic

if TYPE_CHECKING:
    from datetime import datetime

    from trainyard.contracts.glances import Glance
    from trainyard.contracts.scheduling import Records

    Json = dict[str, Any]

#: Models that one answer tells of.
MOST_MODELS = 20
_HOURS = 24
#: The newest predictions of the champion outside of closed windows, among which labels are counted.
_MOST_PREDICTIONS = 200


def shown(records: Records, limit: int) -> list[Json]:
    """Return the first models by name, each with what is newest of it."""
    now = records.upkeep.now()
    glances = records.glances.of(records.models.page(limit, None), windows=quality.MOST_SHOWN, hours=_HOURS)
    return [_model(records, glance, now) for glance in glances]


def _model(records: Records, glance: Glance, now: datetime) -> Json:
    version, decision, alarm, drift = glance.version, glance.decision, glance.alarm, glance.drift
    return {
        "model": views.model(glance.model),
        "version": None if version is None else views.version(version),
        "decision": None if decision is None else views.decision(decision),
        "drift": None if drift is None else {"outcome": drift.outcome, "version": drift.span.version},
        "alarm": None if alarm is None else {"reason": alarm.reason, "outcome": alarm.outcome},
        "labels": _labels(records, glance),
        "traffic": traffic.told(glance.traffic, now, _HOURS),
    }


def _labels(records: Records, glance: Glance) -> int:
    """Count labels: those of the newest closed windows, and of the champion's predictions that no window has yet."""
    room, model = records.monitoring, glance.model
    closed = sum(one.report.get("labels") or 0 for one in glance.judged)
    if model.champion is None:
        return closed
    latest = room.recent(model.id, "drift", 1, version=model.champion)
    rows = room.unwatched(model.id, model.champion, latest[0].span if latest else None, _MOST_PREDICTIONS)
    return closed + sum(one.label is not None for one in rows)
