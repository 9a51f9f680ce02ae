"""Cron expressions in UTC, read by cronsim (docs/adr/0010-cronsim.md)."""

from __future__ import annotations

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


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
    """Return what is wrong with the expression, None when it can be used."""
    try:
        next_due(expression, _ANY_TIME)
    except ValueError as e:
        return str(e)
    return None
