"""Runs: rows of the table, and one run with its leaderboard and why it waits. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.card.document import Chart, Curve
from trainyard.card.svg import as_svg
from trainyard.leaderboard import progress_in_words
from trainyard_console.views.words import (
    DASH,
    Moment,
    State,
    at,
    duration,
    figure,
    is_number,
    items,
    moment,
    money,
    number,
    part,
    seconds,
    state,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

#: States that a run stays in.
_ENDED = frozenset({"done", "failed", "lost", "cancelled", "blocked_by_data", "released"})
_MOST_TRIALS = 100
_MOST_CHARS = 1_000


@dataclass(frozen=True)
class Row:
    """A run in a table. ``share`` is the stage's progress from 0 to 1, None where it is not known."""

    ident: str
    model: str
    attempt: str
    state: State
    stage: str
    share: float | None
    duration: str
    kind: str
    cost: str
    started: Moment
    outcome: str
    version: str | None


@dataclass(frozen=True)
class Trial:
    """A candidate of the search."""

    rank: str
    kind: str
    score: str
    metric: str
    params: str
    seconds: str
    note: str


@dataclass(frozen=True)
class Line:
    """A line that a run has said. ``mine``: it is the trainer's own, not of the process that trains."""

    at: str
    look: str
    level: str
    mine: bool
    text: str


@dataclass(frozen=True)
class Run:
    """One run, whole."""

    row: Row
    request: str
    worker: str
    instance: str
    ended: Moment
    over: bool
    may_cancel: bool
    error: str
    trials: tuple[Trial, ...]
    more_trials: int
    chart: str
    left_out: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    explanation: str
    to_do: str
    attempts: tuple[tuple[str, State, str, str], ...]


def row(item: dict[str, Any], now: datetime) -> Row:
    """Return a run as a row."""
    progress = part(item.get("progress"))
    done, total = progress.get("done"), progress.get("total")
    running = item.get("state") == "running"
    share = done / total if running and is_number(done) and is_number(total) and total > 0 else None
    version = item.get("version")
    again = part(item.get("reproduction"))
    outcome = f"version {text(version)}" if version is not None else text(item.get("error"), "")
    if again:
        outcome = f"version {text(again.get('version'))} again: {'identical' if again.get('identical') else 'differs'}"
    return Row(
        ident=text(item.get("id")),
        model=text(item.get("model")),
        attempt=text(item.get("attempt")),
        state=state(item.get("state")),
        stage=text(progress_in_words(progress) or None) if running else "",
        share=None if share is None else min(1.0, max(0.0, share)),
        duration=duration(item.get("started_at"), item.get("ended_at"), now),
        kind=text(item.get("instance_type")),
        cost=money(item.get("cost_usd")),
        started=moment(item.get("started_at"), now),
        outcome=outcome,
        version=None if version is None else text(version),
    )


def run(item: dict[str, Any], explained: Any, now: datetime) -> Run:
    """Return a run with its trials; ``explained`` is what the scheduler says of its request."""
    trials = items(item, "trials")
    shown = row(item, now)
    told = part(explained)
    over = text(item.get("state")) in _ENDED
    environment = part(item.get("environment"))
    return Run(
        row=shown,
        request=text(item.get("request_id")),
        worker=text(item.get("worker")),
        instance=text(item.get("instance_id")),
        ended=moment(item.get("ended_at"), now),
        over=over,
        may_cancel=text(told.get("state")) in {"queued", "running"} and told.get("code") != "cancelling",
        error=text(item.get("error"), ""),
        trials=tuple(_trial(one) for one in trials[:_MOST_TRIALS]),
        more_trials=max(0, len(trials) - _MOST_TRIALS),
        chart=_search(trials),
        left_out=tuple((text(one.get("column")), text(one.get("reason"))) for one in items(item, "left_out")),
        facts=tuple(
            (name, said)
            for name, said in [
                ("Request", text(item.get("request_id"))),
                ("Worker", text(item.get("worker"))),
                ("Instance", f"{text(item.get('instance_id'))} {shown.kind}".strip()),
                ("Cost", shown.cost),
                ("Python", text(environment.get("python"))),
                ("CPU", text(environment.get("cpu"))),
            ]
            if said != DASH
        ),
        explanation=text(told.get("sentence"), ""),
        to_do=text(told.get("to_do"), ""),
        attempts=tuple(
            (text(one.get("attempt")), state(one.get("state")), seconds(one.get("seconds")), text(one.get("error"), ""))
            for one in items(told, "attempts")
        ),
    )


def line(item: dict[str, Any]) -> Line:
    """Return a line that a run has said; its time is that of the day, its look that of its level."""
    when = at(item.get("at"))
    level = text(item.get("level"))
    return Line(
        at=DASH if when is None else when.strftime("%H:%M:%S"),
        look={"error": "bad", "warning": "warn"}.get(level, "plain"),
        level=level,
        mine=item.get("source") != "training",
        text=text(item.get("text"), "")[:_MOST_CHARS],
    )


def _trial(one: dict[str, Any]) -> Trial:
    params = part(one.get("params"))
    said = ", ".join(f"{name} {value if isinstance(value, str) else figure(value)}" for name, value in params.items())
    return Trial(
        rank=number(one.get("rank")),
        kind=text(one.get("kind")).replace("_", " "),
        score=figure(one.get("score")),
        metric=text(one.get("metric"), ""),
        params=said[:300],
        seconds=seconds(one.get("seconds")),
        note="chosen" if one.get("chosen") else "given up early" if one.get("pruned") else "",
    )


def _search(trials: Sequence[dict[str, Any]]) -> str:
    """Return the search as a picture: the best score so far by the trial's number."""
    scored = sorted(
        (one["number"], one["score"], text(one.get("metric")))
        for one in trials
        if is_number(one.get("number")) and is_number(one.get("score")) and not one.get("pruned")
    )
    if len(scored) < 2:
        return ""
    best = next((one["score"] for one in trials if one.get("rank") == 1 and is_number(one.get("score"))), scored[0][1])
    better = max if best >= max(score for _, score, _ in scored) and best != scored[0][1] else min
    reached, points = scored[0][1], []
    for trial, score, _ in scored:
        reached = better(reached, score)
        points.append((float(trial), float(reached)))
    every = [(float(trial), float(score)) for trial, score, _ in scored]
    chart = Chart("The search", "trial", scored[0][2], [Curve("each trial", every), Curve("best so far", points)])
    return as_svg(chart)
