"""How many predictions a model has answered lately, and how quickly, by the hour or by the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.monitoring import Traffic
    from trainyard.contracts.registry import ModelRecord
    from trainyard.contracts.scheduling import Records

    Json = dict[str, Any]

#: The longest time that is asked for: a year, to the hour.
MOST_HOURS = 24 * 366
#: Beyond this it is told by the day.
_BY_THE_HOUR = 72
_SHARES = {"p50_us": 0.5, "p95_us": 0.95, "p99_us": 0.99}


def shown(records: Records, model: ModelRecord, hours: int) -> Json:
    """Return the predictions of this hour (or day) and those before it, oldest first, those without any included."""
    return told(records.monitoring.traffic(model.id, hours), records.upkeep.now(), hours)


def told(found: Sequence[Traffic], now: datetime, hours: int) -> Json:
    """Return these predictions of so many hours up to now, as :func:`shown` does."""
    by_day = hours > _BY_THE_HOUR
    seconds = 86_400 if by_day else 3_600
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    begin = _begin(hour - timedelta(hours=hours - 1), by_day=by_day)
    buckets: dict[datetime, list[Traffic]] = {}
    while begin <= hour:
        buckets[begin] = []
        begin += timedelta(seconds=seconds)
    for one in found:
        buckets.setdefault(_begin(one.at.astimezone(UTC), by_day=by_day), []).append(one)
    return {
        "bucket_seconds": seconds,
        "items": [{"at": at.isoformat(), **figures(some)} for at, some in sorted(buckets.items())],
        "total": figures(found),
    }


def _begin(at: datetime, *, by_day: bool) -> datetime:
    return at.replace(hour=0) if by_day else at


def figures(found: Sequence[Traffic]) -> Json:
    """Return how many there were, by version too, and within which time, in microseconds, so many were answered."""
    versions: dict[str, int] = {}
    for one in found:
        versions[str(one.version)] = versions.get(str(one.version), 0) + one.predictions
    timed = sorted((one.latency_us, one.predictions) for one in found if one.latency_us is not None)
    return {
        "predictions": sum(one.predictions for one in found),
        "versions": versions,
        **{name: _quantile(timed, share) for name, share in _SHARES.items()},
    }


def _quantile(timed: Sequence[tuple[float, int]], share: float) -> int | None:
    """Return the least time within which this share was answered; None where no time is known."""
    total, passed = sum(count for _, count in timed), 0
    for latency, count in timed:
        passed += count
        if passed >= share * total:
            return round(latency)
    return None
