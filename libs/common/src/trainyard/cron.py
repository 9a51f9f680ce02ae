"""Cron expressions in UTC, read by cronsim (docs/adr/0010-cronsim.md), which services that keep times bring along."""

from __future__ import annotations

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
#: The five fields: name, least and greatest value, and what may stand there besides numbers, ranges and steps.
_FIELDS = (
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day of month", 1, 31, ", L (the last) or LW (the last from Monday to Friday)"),
    ("month", 1, 12, " or JAN to DEC"),
    ("day of week", 0, 7, " (0 and 7 are Sunday), SUN to SAT, 5L (the last Friday) or 5#2 (the second)"),
)


def next_due(expression: str, after: datetime) -> datetime:
    """Return the first time behind ``after`` at which the expression holds.

    Raises:
        ValueError: cronsim cannot read it, or it holds at no time in the next fifty years.
    """
    try:
        return next(CronSim(expression, after.astimezone(UTC)))
    except CronSimError as e:
        raise ValueError(str(e)) from e
    except StopIteration:
        raise ValueError("it never comes true") from None


def cron_problem(expression: str) -> str | None:
    """Return what is wrong with the expression, by field, or None when it can be used."""
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        names = ", ".join(name for name, *_ in _FIELDS)
        return f"it has {len(fields)} field{'' if len(fields) == 1 else 's'}, not five: {names}"
    problem = next(filter(None, map(_field_problem, range(len(fields)), fields)), None)
    if problem is not None:
        return problem
    try:
        next_due(expression, _ANY_TIME)
    except ValueError:
        return "it never comes true: such a day is in none of its months"
    return None


def _field_problem(place: int, text: str) -> str | None:
    """Return what is wrong with one field, None when nothing is."""
    name, least, most, more = _FIELDS[place]
    for term in text.split(","):
        base, slash, step = term.partition("/")
        last_or_nth = name == "day of week" and ("L" in base.upper() or "#" in base)
        if slash and (last_or_nth or step not in map(str, range(1, most + 1))):
            return f"{name} {text[:40]!r}: a step is a whole number from 1 to {most}, behind *, a value or a range"
    others = ["*"] * len(_FIELDS)
    others[place] = text
    try:
        CronSim(" ".join(others), _ANY_TIME)
    except (CronSimError, ValueError):  # the latter for numbers of thousands of digits
        return f"{name} {text[:40]!r}: its values are {least} to {most}{more}"
    return None
