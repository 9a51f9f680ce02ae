"""Keeping the house in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from trainyard.contracts.upkeep import KINDS, Forgotten, ReleasedExtract, Upkeep, Upload, Uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from trainyard.testing.fakes.scheduling_state import State


class MemoryUpkeep(Upkeep):
    """Over one state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def now(self) -> datetime:
        """Return the clock's time."""
        return self._state.clock.now()

    def forget(self, kind: str, *, older_than_seconds: float, keep_newest: int, limit: int) -> int:
        """Remove the oldest."""
        until = self.now() - timedelta(seconds=older_than_seconds)
        drop = dict(zip(KINDS, self._drops(), strict=True))[kind]
        return drop(until, keep_newest, limit)

    def forget_predictions(self, *, older_than_seconds: float, limit: int) -> Forgotten:  # noqa: ARG002 - the real one's
        """Drop the predictions of the oldest month; every one has a month here."""
        since = _month_of(self.now() - timedelta(seconds=older_than_seconds))
        self._state.predicted_since = max(since, self._state.predicted_since or since)
        months = sorted({_month_of(row.logged_at) for row in self._state.predictions})
        if not months or months[0] >= since:
            return Forgotten(None, 0)
        gone = sum(_month_of(row.logged_at) == months[0] for row in self._state.predictions)
        self._state.predictions = self._state.predictions[gone:]
        self._state.forgotten += gone
        return Forgotten(f"prediction_{months[0]:%Y_%m}", 0)

    def release_extracts(self, *, limit: int) -> list[ReleasedExtract]:
        """Take the extracts of marked versions, and of those whose dataset is not there."""
        released: list[ReleasedExtract] = []
        for place, (model_id, version) in enumerate(self._state.versions):
            gone = self._state.model(model_id).dataset_id not in self._state.datasets
            if version.extract_key and (version.not_reproducible or gone) and len(released) < limit:
                released.append(ReleasedExtract(version.model, version.version, version.extract_key))
                self._state.versions[place] = (model_id, replace(version, extract_key=None))
        return released

    def unreferenced(self, keys: Sequence[str]) -> list[str]:
        """Return the keys without a version."""
        known = {key for _, version in self._state.versions for key in (version.artifact_key, version.extract_key)}
        return [key for key in keys if key not in known]

    def still(self, model: str) -> bool:
        """Look; nobody else has a transaction."""
        return not any(
            request.record.model == model and request.record.state in {"queued", "running"}
            for request in self._state.requests.values()
        )

    def _drops(self) -> tuple[Callable[[datetime, int, int], int], ...]:
        first = (self._events, self._messages, self._answers, self._decisions)
        return (
            *first,
            self._launches,
            self._workers,
            self._alarms,
            self._windows,
            self._labels,
            self._shadows,
            self._lines,
            self._traffic,
        )

    def _events(self, until: datetime, keep: int, limit: int) -> int:
        kept = len(self._state.events) - keep
        gone = [e for index, e in enumerate(self._state.events) if index < kept and e.at < until][:limit]
        self._state.events = [event for event in self._state.events if event not in gone]
        return len(gone)

    def _messages(self, until: datetime, _keep: int, limit: int) -> int:
        gone = [m for m in self._state.outbox if m.sent_at is not None and m.sent_at < until][:limit]
        self._state.outbox = [message for message in self._state.outbox if message not in gone]
        return len(gone)

    def _answers(self, until: datetime, _keep: int, limit: int) -> int:
        gone = [post for post, at in self._state.answered_at.items() if at < until][:limit]
        for post in gone:
            del self._state.answers[post], self._state.answered_at[post]
        return len(gone)

    def _shadows(self, until: datetime, _keep: int, limit: int) -> int:
        gone = [entry for entry in self._state.shadows if entry[0] < until][:limit]
        self._state.shadows = [entry for entry in self._state.shadows if entry not in gone]
        return len(gone)

    def _traffic(self, until: datetime, _keep: int, limit: int) -> int:
        gone = [entry for entry in self._state.traffic if entry[1].at < until][:limit]
        self._state.traffic = [entry for entry in self._state.traffic if entry not in gone]
        return len(gone)

    def _lines(self, until: datetime, _keep: int, limit: int) -> int:
        gone = [(ident, line) for ident, lines in self._state.run_lines.items() for line in lines if line.at < until]
        for ident, line in gone[:limit]:
            self._state.run_lines[ident].remove(line)
        return len(gone[:limit])

    def _decisions(self, until: datetime, keep: int, limit: int) -> int:
        gone = []
        for model_id in dict.fromkeys(model_id for model_id, _ in self._state.decisions):
            own = [entry for entry in self._state.decisions if entry[0] == model_id]
            gone += [entry for entry in own[: max(0, len(own) - keep)] if entry[1].at < until]
        self._state.decisions = [entry for entry in self._state.decisions if entry not in gone[:limit]]
        return len(gone[:limit])

    def _launches(self, until: datetime, _keep: int, limit: int) -> int:
        rows = self._state.launches.items()
        gone = [
            ident
            for ident, row in rows
            if row.state in {"ended", "failed"} and row.ended_at is not None and row.ended_at < until
        ][:limit]
        for ident in gone:
            del self._state.launches[ident]
        return len(gone)

    def _workers(self, until: datetime, _keep: int, limit: int) -> int:
        gone = [ident for ident, row in self._state.workers.items() if row.seen_at < until][:limit]
        for ident in gone:
            del self._state.workers[ident]
        return len(gone)

    def _alarms(self, until: datetime, _keep: int, limit: int) -> int:
        old = [
            alarm.id
            for owner, alarm in self._state.alarms
            if alarm.outcome is not None
            and self._state.settled_at.get(alarm.id, alarm.raised_at) < until
            and self._has_a_newer((owner, alarm.detector, alarm.window_id))
        ]
        gone = set(old[:limit])
        self._state.alarms = [(owner, alarm) for owner, alarm in self._state.alarms if alarm.id not in gone]
        return len(gone)

    def _windows(self, until: datetime, _keep: int, limit: int) -> int:
        told = {(owner, alarm.detector, alarm.window_id) for owner, alarm in self._state.alarms}
        gone = [
            key
            for key, window in self._state.windows.items()
            if window.record.closed_at < until and key not in told and self._has_a_newer(key)
        ][:limit]
        for key in gone:
            del self._state.windows[key]
        return len(gone)

    def _labels(self, until: datetime, _keep: int, limit: int) -> int:
        if self._state.predicted_since is None:
            return 0
        until = min(until, self._state.predicted_since)
        logged = {row.id for row in self._state.predictions}
        gone = [
            place
            for place, (prediction_id, _) in enumerate(self._state.feedback)
            if place not in self._state.forgotten_feedback
            and self._state.given_at[place] < until
            and prediction_id not in logged
        ][:limit]
        self._state.forgotten_feedback.update(gone)
        return len(gone)

    def _has_a_newer(self, key: tuple[int, str, str]) -> bool:
        span = self._state.windows[key].record.span
        return any(
            other[:2] == key[:2] and (o := window.record.span).version == span.version and o.number > span.number
            for other, window in self._state.windows.items()
        )


def _month_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


class MemoryUploads(Uploads):
    """Uploads that a test has put into ``begun``."""

    def __init__(self) -> None:
        self.begun: list[Upload] = []

    def unfinished(self) -> Iterator[Upload]:
        """Yield them."""
        yield from list(self.begun)

    def abort(self, upload: Upload) -> None:
        """Drop one, if it is there."""
        self.begun = [other for other in self.begun if other != upload]
