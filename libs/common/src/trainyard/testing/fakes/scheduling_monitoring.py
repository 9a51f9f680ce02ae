"""Watching in memory: windows and alarms."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import TYPE_CHECKING, Any

from trainyard.contracts.monitoring import (
    Alarm,
    Alarms,
    Monitoring,
    Reference,
    Scored,
    ShadowReport,
    Sight,
    Span,
    Spent,
    Traffic,
    WindowRecord,
    choice,
)
from trainyard.testing.fakes.scheduling_rows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainyard.contracts.prediction_log import ShadowScore
    from trainyard.testing.fakes.scheduling_rows import Logged
    from trainyard.testing.fakes.scheduling_state import State


def _stored(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value as JSON brings it back; TypeError or ValueError for what JSON does not have."""
    stored: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    return stored


class MemoryAlarms(Alarms):
    """The alarms' room."""

    def __init__(self, state: State) -> None:
        self._state = state

    def open(self, model_id: int) -> list[Alarm]:
        """Return the open alarms."""
        return [alarm for owner, alarm in self._state.alarms if owner == model_id and alarm.outcome is None]

    def settle(self, ids: Sequence[int], *, outcome: str, request_id: str | None) -> None:
        """Note what came of them."""
        for ident in ids:
            self._state.settled_at.setdefault(ident, self._state.clock.now())
        self._state.alarms[:] = [
            (owner, replace(alarm, outcome=outcome, request_id=request_id))
            if alarm.id in ids and alarm.outcome is None
            else (owner, alarm)
            for owner, alarm in self._state.alarms
        ]

    def add(
        self,
        model_id: int,
        detector: str,
        window_id: str,
        *,
        reason: str,
        numbers: Mapping[str, Any],
        held: str | None,
    ) -> bool:
        """Add the alarm, once."""
        known = {(owner, alarm.detector, alarm.window_id) for owner, alarm in self._state.alarms}
        if (model_id, detector, window_id) in known:
            return False
        number, now = next(self._state.numbers), self._state.clock.now()
        alarm = Alarm(number, detector, window_id, reason, _stored(numbers), now, None, held)
        self._state.alarms.append((model_id, alarm))
        if held is not None:
            self._state.settled_at[number] = now
        return True

    def spent(self, model_id: int) -> Spent:
        """Count the alarms that asked for a training."""
        now = self._state.clock.now()
        raised = [
            alarm.raised_at
            for owner, alarm in self._state.alarms
            if owner == model_id and (alarm.outcome is None or alarm.request_id is not None)
        ]
        return Spent(sum(now - at < timedelta(days=1) for at in raised), max(raised, default=None), now)

    def page(self, model_id: int, limit: int) -> list[Alarm]:
        """Return the newest alarms."""
        return [alarm for owner, alarm in self._state.alarms[::-1] if owner == model_id][:limit]


class MemoryMonitoring(Monitoring):
    """The windows' room."""

    def __init__(self, state: State) -> None:
        self._state = state

    def sights(self) -> list[Sight]:
        """Look at every served model."""
        served = {owner for (owner, name), alias in self._state.aliases.items() if name == "champion"}
        models = [model for model in self._state.models if model.id in served and not model.deleted]
        return [self._sight(model.id, model.name) for model in sorted(models, key=lambda one: one.name)]

    def _sight(self, model_id: int, name: str) -> Sight:
        seqs = [seq for seq, row in self._state.numbered() if row.model == name]
        unseen = len(self._state.feedback) > self._state.marks.get(model_id, 0)
        return Sight(name, max(seqs, default=0), unseen or bool(self.due(model_id, 1)))

    def hold(self, model_id: int) -> int | None:
        """Return the mark: there is one transaction at a time."""
        return self._state.marks.get(model_id, 0)

    def advance(self, model_id: int, feedback_seq: int) -> None:
        """Move the mark on."""
        self._state.marks[model_id] = max(self._state.marks.get(model_id, 0), feedback_seq)

    def versions(self, model_id: int, limit: int) -> list[int]:
        """Return the versions that serve or served."""
        found = {one.version for owner, one in self._state.deployments if owner == model_id}
        found |= {alias.version for (owner, _), alias in self._state.aliases.items() if owner == model_id}
        return sorted((version for version in found if version is not None), reverse=True)[:limit]

    def reference(self, model_id: int, version: int) -> Reference:
        """Return what a test has put there, or what the version's record has."""
        known = self._state.references.get((model_id, version))
        if known is not None:
            return known
        record = next(one for owner, one in self._state.versions if (owner, one.version) == (model_id, version))
        return Reference(None, record.metrics, record.gate.get("rows"))

    def recent(self, model_id: int, detector: str, limit: int, *, version: int | None = None) -> list[WindowRecord]:
        """Return the newest windows."""
        found = [
            window.record
            for (owner, kind, _), window in self._state.windows.items()
            if (owner, kind) == (model_id, detector) and version in {None, window.record.span.version}
        ]
        if version is not None:
            return sorted(found, key=lambda one: one.span.number, reverse=True)[:limit]
        return sorted(found, key=lambda one: (one.closed_at, one.span.number), reverse=True)[:limit]

    def cut_rows(self, model_id: int, version: int, last: Span | None, rows: int) -> Span | None:
        """Look for a full window behind the last one."""
        after = 0 if last is None else last.last_seq
        found = [(seq, row) for seq, row in self._of(model_id, version) if seq > after][:rows]
        if len(found) < rows:
            return None
        times = [row.predicted_at for _, row in found]
        number = 0 if last is None else last.number + 1
        ident = f"v{version}-after-{after}"
        return Span(ident, version, number, "rows", after, found[-1][0], min(times), max(times), rows)

    def cut_time(self, model_id: int, version: int, last: Span | None, seconds: float, late: float) -> Span | None:
        """Look for the first prediction that no window has."""
        rows = self._of(model_id, version)
        left = [row.predicted_at for _, row in rows if last is None or row.predicted_at >= last.ended_at]
        if not left:
            return None
        place = math.floor(min(left).timestamp() / seconds)
        began = datetime.fromtimestamp(place * seconds, UTC)
        ended = datetime.fromtimestamp((place + 1) * seconds, UTC)
        if ended > self._state.clock.now() - timedelta(seconds=late):
            return None
        seqs = [seq for seq, row in rows if began <= row.predicted_at < ended]
        number = 0 if last is None else last.number + 1
        ident = f"v{version}-{seconds:g}s-{began.timestamp():.0f}"
        return Span(ident, version, number, "time", seqs[0] - 1, seqs[-1], began, ended, len(seqs))

    def inputs(self, model_id: int, span: Span, most: int) -> Iterator[Mapping[str, Any]]:
        """Yield the inputs, or an even choice."""
        for row in self._chosen(model_id, span, most):
            yield row.inputs

    def count(self, model_id: int, span: Span) -> int:
        """Count the predictions."""
        return len(self._members(model_id, span))

    def scored(self, model_id: int, span: Span, most: int) -> Iterator[Scored]:
        """Yield outputs and labels."""
        latest = dict(self._state.given())
        for row in self._chosen(model_id, span, most):
            yield Scored(row.predicted_at, row.output, row.id in latest, latest.get(row.id))

    def answering(self, model_id: int, limit: int) -> list[int]:
        """Return the versions with predictions."""
        name = self._state.model(model_id).name
        return sorted({row.version for row in self._state.predictions if row.model == name}, reverse=True)[:limit]

    def unwatched(self, model_id: int, version: int, last: Span | None, most: int) -> Iterator[Scored]:
        """Yield the newest predictions behind the window."""
        latest = dict(self._state.given())
        behind = [
            row
            for seq, row in self._of(model_id, version)
            if last is None or (seq > last.last_seq if last.cut == "rows" else row.predicted_at >= last.ended_at)
        ]
        for row in behind[-most:]:
            yield Scored(row.predicted_at, row.output, row.id in latest, latest.get(row.id))

    def traffic(self, model_id: int, hours: int) -> list[Traffic]:
        """Return what a test has put there."""
        since = self._state.clock.now() - timedelta(hours=hours)
        return [one for owner, one in self._state.traffic if owner == model_id and one.at > since]

    def shadows(self, model_id: int, most: int) -> list[ShadowReport]:
        """Average the newest comparisons."""
        name = self._state.model(model_id).name
        found: dict[tuple[int, int], list[ShadowScore]] = {}
        for one in [score for _, score in self._state.shadows if score.model == name][-most:]:
            found.setdefault((one.version, one.shadow_version), []).append(one)
        return [
            ShadowReport(
                *versions,
                rows=len(own),
                mean_difference=fmean(one.difference for one in own),
                mean_absolute_difference=fmean(abs(one.difference) for one in own),
                changed=fmean(one.changed for one in own),
                first_at=min(one.scored_at for one in own),
                last_at=max(one.scored_at for one in own),
            )
            for versions, own in sorted(found.items(), reverse=True)
        ]

    def feedback_upto(self, after: int, limit: int) -> int:
        """Return the place of the last of the next labels."""
        return max(after, min(len(self._state.feedback), after + limit))

    def waiting_labels(self, limit: int) -> int:
        """Count the labels without a prediction."""
        known = {row.id for row in self._state.predictions}
        return sum(prediction_id not in known for prediction_id, _ in self._state.given()[-limit:])

    def labelled(self, model_id: int, after: int, upto: int) -> list[Span]:
        """Return the windows that the labels fall into."""
        given = {prediction_id for prediction_id, _ in self._state.given(after, upto)}
        return [
            span
            for span in self._quality_spans(model_id)
            if any(row.id in given for _, row in self._members(model_id, span))
        ]

    def due(self, model_id: int, limit: int) -> list[Span]:
        """Return windows that wait no longer."""
        now = self._state.clock.now()
        waiting = [
            (window.due_at, window.record.span)
            for (owner, _, _), window in self._state.windows.items()
            if owner == model_id and window.due_at is not None and window.due_at <= now
        ]
        return [span for _, span in sorted(waiting, key=lambda one: one[0])][:limit]

    def age(self, span: Span) -> float:
        """Return the seconds since the span ended."""
        return (self._state.clock.now() - span.ended_at).total_seconds()

    def put(
        self,
        model_id: int,
        detector: str,
        span: Span,
        *,
        outcome: str,
        report: Mapping[str, Any],
        again_in: float | None = None,
    ) -> None:
        """Insert or replace the window's row."""
        key, now = (model_id, detector, span.window_id), self._state.clock.now()
        earlier = self._state.windows.get(key)
        closed_at = now if earlier is None else earlier.record.closed_at
        record = WindowRecord(detector, span, outcome, _stored(report), closed_at)
        self._state.windows[key] = Window(record, None if again_in is None else now + timedelta(seconds=again_in))

    def _of(self, model_id: int, version: int) -> list[tuple[int, Logged]]:
        model = self._state.model(model_id)
        return [
            (seq, row)
            for seq, row in self._state.numbered()
            if (row.model, row.version) == (model.name, version) and row.logged_at >= model.created_at
        ]

    def _members(self, model_id: int, span: Span) -> list[tuple[int, Logged]]:
        return [
            (seq, row)
            for seq, row in self._of(model_id, span.version)
            if (
                span.after_seq < seq <= span.last_seq
                if span.cut == "rows"
                else span.began_at <= row.predicted_at < span.ended_at
            )
        ]

    def _chosen(self, model_id: int, span: Span, most: int) -> list[Logged]:
        below = choice(span.rows, most)
        return [row for seq, row in self._members(model_id, span) if seq % 2**31 * 2654435761 % 2**32 < below]

    def _quality_spans(self, model_id: int) -> list[Span]:
        found = [
            window.record.span
            for (owner, detector, _), window in self._state.windows.items()
            if (owner, detector) == (model_id, "quality")
        ]
        return sorted(found, key=lambda span: (span.version, span.number))
