"""Dates and times as microseconds since 1970, and their parts, one at a time and without numpy."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from trainyard.model.elementary import cosine_of, sine_of

DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = 719_163
_MICROSECOND = timedelta(microseconds=1)


def ticks_of(moment: date) -> int:
    """Return microseconds since 1970 of a date, or of a time with its zone."""
    if isinstance(moment, datetime):
        return (moment - _EPOCH) // _MICROSECOND
    return (moment.toordinal() - _EPOCH_ORDINAL) * DAY_US


def part_of(moment: date, part: str) -> float:
    """Return one of DATE_PARTS, in UTC: as :func:`trainyard.model.features.calendar` does for arrays."""
    ticks = ticks_of(moment)
    days = ticks // DAY_US
    day = date.fromordinal(days + _EPOCH_ORDINAL)
    seconds = (ticks - days * DAY_US) / 1e6
    name, _, wave = part.rpartition("_")
    if wave in ("sin", "cos"):
        turn = {"month": (day.month - 1) / 12, "weekday": day.weekday() / 7, "hour": seconds / 86_400}[name]
        return sine_of(turn) if wave == "sin" else cosine_of(turn)
    return float(
        {
            "year": day.year,
            "month": day.month,
            "day": day.day,
            "weekday": day.weekday(),
            "day_of_year": day.timetuple().tm_yday,
            "hour": seconds // 3600,
            "minute": seconds % 3600 // 60,
            "epoch_days": ticks / DAY_US,
        }[part]
    )
