"""Live quality for readers: what watching has found so far, and the predictions that no window has yet."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainyard.contracts.monitoring import DETECTORS
from trainyard.durations import in_words
from trainyard_scheduler.domain.scoring import scores_of, uncomparable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.monitoring import Alarm, Scored, ShadowReport, WindowRecord
    from trainyard.contracts.registry import ModelRecord
    from trainyard.contracts.scheduling import Records

    Json = dict[str, Any]

#: The newest predictions outside of closed windows that one answer reads, over all versions.
MOST_PREDICTIONS = 20_000
#: Versions, watched windows and alarms that one answer shows, and the newest labels that it counts the waiting ones of.
MOST_SHOWN = 20
_MOST_LABELS = 10_000


def shown(records: Records, model: ModelRecord, most: int = MOST_PREDICTIONS) -> Json:
    """Return the open windows and what watching the model has found, newest first, and what it takes to see more.

    ``most``: how many of the newest predictions are read for it, comparisons with shadows and labels likewise; 0: only
    what is stored is told, and nothing of what it takes to see more.
    """
    room = records.monitoring
    windows, left_out = open_windows(records, model, most) if most else ([], [])
    drift, live = (room.recent(model.id, detector, MOST_SHOWN) for detector in DETECTORS)
    waiting = _waiting(records, model)
    return {
        "windows": windows,
        "drift": [_closed(one) for one in drift],
        "live": [_closed(one) for one in live],
        "shadows": [_shadow(one) for one in room.shadows(model.id, most)],
        "alarms": [_alarm(one, waiting) for one in records.alarms.page(model.id, MOST_SHOWN)],
        "waiting_labels": room.waiting_labels(min(most, _MOST_LABELS)),
        "missing": [*_missing(records, model, windows, live), *_untold(windows, left_out, most)] if most else [],
    }


def open_windows(records: Records, model: ModelRecord, most: int = MOST_PREDICTIONS) -> tuple[list[Json], list[int]]:
    """Return for each version the predictions that no closed window has, newest version first; and who is left out.

    The champion's are read first, then those of the newest versions, until ``most`` are read; a window
    of which older ones were left out is not ``complete``, and a version of which all were is in the second list. Closed
    windows are stored: nothing of them is read here.
    """
    room, left = records.monitoring, most
    found: list[Json] = []
    left_out: list[int] = []
    for version in _versions(records, model):
        latest = room.recent(model.id, "drift", 1, version=version)
        # One more than is shown tells whether there are more.
        rows = list(room.unwatched(model.id, version, latest[0].span if latest else None, left + 1))
        shown_here = rows[max(len(rows) - left, 0) :]
        if shown_here:
            complete = len(rows) <= left
            found.append(_open(version, shown_here, complete=complete, confidence=model.policy.monitoring.confidence))
        elif rows:
            left_out.append(version)
        left -= len(shown_here)
    return sorted(found, key=lambda window: -window["version"]), left_out


def _versions(records: Records, model: ModelRecord) -> list[int]:
    """Return the versions that have answered, the champion first."""
    others = [one for one in records.monitoring.answering(model.id, MOST_SHOWN) if one != model.champion]
    return others if model.champion is None else [model.champion, *others]


def _open(version: int, rows: Sequence[Scored], *, complete: bool, confidence: float) -> Json:
    """Return the figures of these predictions. A label that is null counts for nothing."""
    labelled = [one for one in rows if one.label is not None]
    scores = scores_of([one.output for one in labelled], [one.label for one in labelled])
    intervals = {} if scores is None else scores.intervals(confidence=confidence)
    return {
        "version": version,
        "predictions": len(rows),
        "labels": len(labelled),
        "uncomparable": uncomparable(scores, len(labelled)),
        "complete": complete,
        "from": min(one.at for one in rows).isoformat(),
        "upto": max(one.at for one in rows).isoformat(),
        "metrics": {} if scores is None else scores.values(),
        "intervals": {name: asdict(one) for name, one in intervals.items()},
    }


def _missing(records: Records, model: ModelRecord, windows: Sequence[Json], live: Sequence[WindowRecord]) -> list[str]:
    """Say what it takes to see drift and live quality."""
    settings = model.policy.monitoring
    if model.champion is None:
        return ["no version serves yet: what is watched are the predictions of versions that do"]
    found = []
    if not live and settings.window is None:
        answered = next((one["predictions"] for one in windows if one["version"] == model.champion), 0)
        found.append(f"no window is full: {answered:,} of {settings.window_rows:,} predictions of the champion")
    elif not live and settings.window is not None:
        found.append(f"no window of {in_words(settings.window)} with predictions is over")
    if records.monitoring.reference(model.id, model.champion).profile is None:
        found.append("the champion was made without a profile of its rows: drift is seen from the next version on")
    if not any(one["labels"] for one in windows) and not any(one.report["labels"] for one in live):
        found.append("no label has come for the predictions shown here: quality needs feedback")
    return found


def _untold(windows: Sequence[Json], left_out: Sequence[int], most: int) -> list[str]:
    """Say what the figures of the open windows leave out."""
    found = [
        f"{one['uncomparable']:,} of {one['labels']:,} labels in the open window of version {one['version']} cannot be"
        " compared with their answers: metrics are of the others"
        for one in windows
        if one["uncomparable"]
    ]
    if left_out:
        which = ", ".join(map(str, sorted(left_out, reverse=True)))
        found.append(f"open windows of these versions are left out, as {most:,} predictions are read: {which}")
    return found


def _waiting(records: Records, model: ModelRecord) -> str:
    """Return what an alarm that nothing has come of waits for: what the policy said last."""
    said = records.requests.decisions(model.id, 1, None)
    if not said or said[0].fired:
        return "the policy has not looked at it yet"
    return said[0].reason.removeprefix("not fired: ")


def _closed(window: WindowRecord) -> Json:
    span = window.span
    return {
        "window": span.window_id,
        "version": span.version,
        "number": span.number,
        "rows": span.rows,
        "from": span.began_at.isoformat(),
        "upto": span.ended_at.isoformat(),
        "outcome": window.outcome,
        **window.report,
    }


def _shadow(one: ShadowReport) -> Json:
    return {**asdict(one), "first_at": one.first_at.isoformat(), "last_at": one.last_at.isoformat()}


def _alarm(alarm: Alarm, waiting: str) -> Json:
    waits = waiting if alarm.outcome is None else None
    return {**asdict(alarm), "raised_at": alarm.raised_at.isoformat(), "waits_for": waits}
