"""The fleet's ledger and the costs in memory."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from trainyard.contracts.costs import (
    LEAST_TIMED_SECONDS,
    MOST_TIMED_SECONDS,
    TIMED_RUNS,
    Costs,
    InstanceCosts,
    RunCosts,
    TrainingTime,
)
from trainyard.contracts.launches import CAPACITY, Failure, Launch, Launches, Usage
from trainyard.testing.fakes.scheduling_rows import LaunchRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.fleet import Instance, LaunchSpec
    from trainyard.contracts.requests import RunRecord
    from trainyard.testing.fakes.scheduling_state import State

_DAY = timedelta(days=1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class MemoryLaunches(Launches):
    """The ledger."""

    def __init__(self, state: State) -> None:
        self._state = state

    def lock(self) -> None:
        """Nothing: the store opens one transaction at a time."""

    def open(self) -> list[Launch]:
        """Return what is not over."""
        return [self._launch(row) for row in self._state.launches.values() if row.state in {"asked", "launched"}]

    def of_instances(self, instance_ids: Sequence[str]) -> list[Launch]:
        """Return what became these instances."""
        return [self._launch(row) for row in self._state.launches.values() if row.instance_id in instance_ids]

    def failures(self) -> list[Failure]:
        """Count failures since the last success of the same spec."""
        now = self._state.clock.now()
        streaks: dict[LaunchSpec, list[LaunchRow]] = defaultdict(list)
        for row in self._state.launches.values():
            if row.launched_at is not None:
                streaks.pop(row.spec, None)
            elif row.state == "failed" and row.created_at > now - _DAY:
                streaks[row.spec].append(row)
        found = []
        for spec, rows in streaks.items():
            last = max(rows, key=lambda row: row.ended_at or row.created_at)
            ago = (now - (last.ended_at or now)).total_seconds()
            found.append(Failure(spec, len(rows), ago, last.error_kind or CAPACITY, last.error or ""))
        return sorted(found, key=lambda failure: (failure.spec.instance_types, failure.spec.spot))

    def usage(self) -> Usage:
        """Add up the part of every instance's life that is today."""
        now = self._state.clock.now()
        usage = Usage(0.0, 0.0, 0.0)
        for row in self._state.launches.values():
            hours = _hours(row, _midnight(now.date()), now)
            usage = Usage(
                usage.hours + hours,
                usage.usd + hours * (row.usd_per_hour or 0.0),
                usage.unpriced_hours + (hours if row.usd_per_hour is None else 0.0),
            )
        return usage

    def ask(self, spec: LaunchSpec, reason: str) -> str:
        """Add a launch."""
        ident = str(uuid.uuid4())
        self._state.launches[ident] = LaunchRow(ident, "asked", spec, self._state.clock.now(), reason)
        return ident

    def claim(self, launch_id: str, seconds: float) -> Launch | None:
        """Return the launch if it is still 'asked' and not claimed."""
        row, now = self._state.launches.get(launch_id), self._state.clock.now()
        if row is None or row.state != "asked" or (row.claimed_until is not None and row.claimed_until > now):
            return None
        row.claimed_until = now + timedelta(seconds=seconds)
        return self._launch(row)

    def unclaim(self, launch_id: str) -> None:
        """Give the claim up."""
        self._state.launches[launch_id].claimed_until = None

    def launched(self, launch_id: str, instance: Instance, usd_per_hour: float | None) -> None:
        """Note the instance."""
        row = self._state.launches[launch_id]
        if row.state in {"asked", "failed"}:
            row.state, row.instance_id, row.instance_type = "launched", instance.instance_id, instance.instance_type
            row.zone, row.market, row.usd_per_hour = instance.zone, instance.market, usd_per_hour
            row.launched_at, row.ended_at, row.error, row.error_kind = self._state.clock.now(), None, None, None

    def failed(self, launch_id: str, kind: str, error: str) -> None:
        """Note the refusal."""
        row = self._state.launches[launch_id]
        if row.state == "asked":
            row.state, row.error_kind, row.error, row.ended_at = "failed", kind, error, self._state.clock.now()

    def ended(self, launch_ids: Sequence[str], reason: str) -> None:
        """Note that the instances are gone."""
        for row in (self._state.launches[ident] for ident in launch_ids):
            if row.state in {"asked", "launched"}:
                row.state, row.reason, row.ended_at = "ended", reason, self._state.clock.now()

    def first_today(self, notice: str) -> bool:
        """Write the day down."""
        today = self._state.clock.now().date()
        first = self._state.notices.get(notice) != today
        self._state.notices[notice] = today
        return first

    def _launch(self, row: LaunchRow) -> Launch:
        age = (self._state.clock.now() - (row.launched_at or row.created_at)).total_seconds()
        return Launch(
            id=row.id,
            state=row.state,
            instance_id=row.instance_id,
            spec=row.spec,
            age=age,
            created_at=row.created_at,
            instance_type=row.instance_type,
            zone=row.zone,
            market=row.market,
            usd_per_hour=row.usd_per_hour,
        )


class MemoryCosts(Costs):
    """The costs."""

    def __init__(self, state: State) -> None:
        self._state = state

    def training_times(self) -> list[TrainingTime]:
        """Average the newest finished runs."""
        done = [run for run in self._state.runs if run.state == "done" and run.ended_at is not None]
        newest = sorted(done, key=lambda run: run.ended_at or run.started_at)[-TIMED_RUNS:]
        times: dict[tuple[tuple[str, ...], bool | None], list[float]] = defaultdict(list)
        for run in newest:
            asked = self._state.requests[run.request_id].record
            seconds = min(max(_seconds(run), LEAST_TIMED_SECONDS), MOST_TIMED_SECONDS)
            times[tuple(asked.instance_types), asked.spot].append(seconds)
        return [
            TrainingTime(list(types), spot, sum(seconds) / len(seconds), len(seconds))
            for (types, spot), seconds in sorted(times.items(), key=str)
        ]

    def settle(self) -> int:
        """Multiply seconds and price where both are known."""
        since, settled = self._state.clock.now() - 7 * _DAY, 0
        for place, run in enumerate(self._state.runs):
            launch = self._launch_of(run)
            price = None if launch is None else launch.usd_per_hour
            if run.ended_at is None or run.ended_at <= since or run.cost_usd is not None or price is None:
                continue
            self._state.runs[place] = replace(run, cost_usd=_seconds(run) / 3600.0 * price)
            settled += 1
        return settled

    def of_runs(self, first: date, last: date) -> list[RunCosts]:
        """Add up runs by day, model and type."""
        groups: dict[tuple[date, str, str | None], list[RunRecord]] = defaultdict(list)
        for run in self._state.runs:
            if run.ended_at is not None and first <= run.ended_at.date() <= last:
                launch = self._launch_of(run)
                kind = run.instance_type or (None if launch is None else launch.instance_type)
                groups[run.ended_at.date(), run.model, kind].append(run)
        found = []
        for (day, model, kind), runs in sorted(groups.items(), key=str):
            known = [run.cost_usd for run in runs if run.cost_usd is not None]
            seconds = sum(_seconds(run) for run in runs)
            usd = sum(known) if known else None
            found.append(RunCosts(day, model, kind, len(runs), seconds, usd, len(runs) - len(known)))
        return found

    def of_instances(self, first: date, last: date) -> list[InstanceCosts]:
        """Add up instances by day, type and market."""
        now = self._state.clock.now()
        found = []
        for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
            groups: dict[tuple[str, str | None], list[LaunchRow]] = defaultdict(list)
            for row in self._state.launches.values():
                if _hours(row, _midnight(day), now) > 0.0:
                    groups[row.instance_type or "", row.market].append(row)
            for (kind, market), rows in sorted(groups.items(), key=str):
                hours = [_hours(row, _midnight(day), now) for row in rows]
                priced = [h * r.usd_per_hour for h, r in zip(hours, rows, strict=True) if r.usd_per_hour is not None]
                found.append(InstanceCosts(day, kind, market, len(rows), sum(hours), sum(priced) if priced else None))
        return found

    def today(self) -> date:
        """Return the clock's day."""
        return self._state.clock.now().date()

    def _launch_of(self, run: RunRecord) -> LaunchRow | None:
        rows = (row for row in self._state.launches.values() if row.instance_id == run.instance_id)
        return None if run.instance_id is None else next(rows, None)


def _hours(row: LaunchRow, midnight: datetime, now: datetime) -> float:
    """Return how many hours of the day that begins at ``midnight`` the instance has lived."""
    if row.launched_at is None:
        return 0.0
    lived = min(row.ended_at or now, midnight + _DAY) - max(row.launched_at, midnight)
    return max(lived.total_seconds(), 0.0) / 3600.0


def _seconds(run: RunRecord) -> float:
    return max(((run.ended_at or run.started_at) - run.started_at).total_seconds(), 0.0)
