"""What training costs: filled in when a run has ended, and shown by day."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from trainyard.contracts.costs import InstanceCosts, RunCosts
    from trainyard.contracts.scheduling import Records, Store

#: What is shown when no days are named, and at most.
_USUAL_DAYS, MOST_DAYS = 30, 366
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_log = logs.get(__name__)


def settle(store: Store) -> int:
    """Give every run that has ended, by whatever road, its cost; return how many got one.

    Raises:
        TransientError: the database does not answer.
    """
    with store.begin() as records:
        settled = records.costs.settle()
    if settled:
        _log.info("costs.settled", runs=settled)
    return settled


def days(records: Records, first: str | None, last: str | None) -> tuple[date, date]:
    """Return the days that a question names, both included; by default the last 30 up to today (UTC).

    Raises:
        ServiceError: one is no day, or they are the wrong way round or too many.
    """
    upto = records.costs.today() if last is None else _day("upto", last)
    since = max(upto, date.min + timedelta(_USUAL_DAYS)) - timedelta(_USUAL_DAYS - 1)
    if first is not None:
        since = _day("from", first)
    if since > upto:
        raise ServiceError("bad_request", f"from={since} is after upto={upto}")
    if (upto - since).days >= MOST_DAYS:
        raise ServiceError("bad_request", f"from and upto may be {MOST_DAYS} days apart at most")
    return since, upto


def between(records: Records, first: date, last: date) -> tuple[list[RunCosts], list[InstanceCosts]]:
    """Return what runs and instances cost on these days, both included."""
    return records.costs.of_runs(first, last), records.costs.of_instances(first, last)


def _day(name: str, text: str) -> date:
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None  # of that form, and no day: the 30th of February
    if day is None:
        raise ServiceError("bad_request", f"{name} must be a day such as 2026-01-31")
    return day
