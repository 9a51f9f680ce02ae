"""What a home page says of the first models, in one answer of few and cheap questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_scheduler import views
from trainyard_scheduler.use_cases import quality, traffic

if TYPE_CHECKING:
    from trainyard.contracts.registry import ModelRecord
    from trainyard.contracts.scheduling import Records

    Json = dict[str, Any]

#: Models that one answer tells of.
MOST_MODELS = 20
_HOURS = 24
#: The newest predictions of the champion outside of closed windows, among which labels are counted.
_MOST_PREDICTIONS = 200


def shown(records: Records, limit: int) -> list[Json]:
    """Return the first models by name, each with what is newest of it."""
    return [_model(records, model) for model in records.models.page(limit, None)]


def _model(records: Records, model: ModelRecord) -> Json:
    version = next(iter(records.versions.versions(model.id, 1, None)), None)
    decision = next(iter(records.requests.decisions(model.id, 1, None)), None)
    alarm = next(iter(records.alarms.page(model.id, 1)), None)
    drift = records.monitoring.recent(model.id, "drift", 1)
    return {
        "model": views.model(model),
        "version": None if version is None else views.version(version),
        "decision": None if decision is None else views.decision(decision),
        "drift": None if not drift else {"outcome": drift[0].outcome, "version": drift[0].span.version},
        "alarm": None if alarm is None else {"reason": alarm.reason, "outcome": alarm.outcome},
        "labels": _labels(records, model),
        "traffic": traffic.shown(records, model, _HOURS),
    }


def _labels(records: Records, model: ModelRecord) -> int:
    """Count labels: those of the newest closed windows, and of the champion's predictions that no window has yet."""
    room = records.monitoring
    closed = sum(one.report.get("labels") or 0 for one in room.recent(model.id, "quality", quality.MOST_SHOWN))
    if model.champion is None:
        return closed
    latest = room.recent(model.id, "drift", 1, version=model.champion)
    rows = room.unwatched(model.id, model.champion, latest[0].span if latest else None, _MOST_PREDICTIONS)
    return closed + sum(one.label is not None for one in rows)
