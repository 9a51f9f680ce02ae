"""How a model does in life: drift of its inputs, metrics by true labels, volumes, alarms. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.card.document import Chart, Curve
from trainyard.card.svg import as_svg
from trainyard_console.charts.bars import spark, strengths
from trainyard_console.views.words import (
    DASH,
    Moment,
    State,
    figure,
    is_number,
    items,
    micros,
    moment,
    number,
    part,
    state,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from markupsafe import Markup

_MOST_FEATURES = 15
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Window:
    """A window of predictions."""

    version: str
    rows: str
    outcome: State
    summary: str
    upto: Moment


@dataclass(frozen=True)
class Judged:
    """A window, by its true labels."""

    version: str
    predictions: str
    labels: str
    metric: str
    value: str
    interval: str
    reference: str
    outcome: State
    upto: Moment


@dataclass(frozen=True)
class Alarm:
    """An alarm and what came of it."""

    detector: str
    reason: str
    raised: Moment
    outcome: str
    waiting: bool


@dataclass(frozen=True)
class Open:
    """Predictions that no closed window has yet."""

    version: str
    predictions: str
    labels: str
    metrics: str


@dataclass(frozen=True)
class Quality:
    """The page."""

    open: tuple[Open, ...]
    windows: tuple[Window, ...]
    judged: tuple[Judged, ...]
    alarms: tuple[Alarm, ...]
    shadows: tuple[tuple[str, ...], ...]
    drift: Markup | str
    drift_of: str
    volume: Markup | str
    course: str
    course_words: str
    missing: tuple[str, ...]


def quality(value: Any, now: datetime) -> Quality:
    """Return the page from what the scheduler says of a model."""
    drift, live = items(value, "drift"), items(value, "live")
    newest = drift[0] if drift else {}
    course, words = _course(live)
    missing = part(value).get("missing")
    return Quality(
        open=tuple(_open(one) for one in items(value, "windows")),
        windows=tuple(_window(one, now) for one in drift),
        judged=tuple(_judged(one, now) for one in live),
        alarms=tuple(_alarm(one, now) for one in items(value, "alarms")),
        shadows=tuple(_shadow(one) for one in items(value, "shadows")),
        drift=_features(newest),
        drift_of=f"version {text(newest.get('version'))}, {number(newest.get('rows'))} predictions" if newest else "",
        volume=spark(
            [float(one["rows"]) for one in drift[::-1] if is_number(one.get("rows"))], "Predictions by window"
        ),
        course=course,
        course_words=words,
        missing=tuple(text(one) for one in missing) if isinstance(missing, list) else (),
    )


@dataclass(frozen=True)
class Traffic:
    """Predictions by the hour or the day: how many as bars, how quickly as curves, both in a sentence."""

    volume: Markup | str
    latency: str
    words: str
    versions: tuple[tuple[str, str], ...]


def traffic(value: Any) -> Traffic:
    """Return what a model answered lately."""
    told, total = items(value), part(value, "total")
    step = "day" if part(value).get("bucket_seconds") == _DAY_SECONDS else "hour"
    counts = [float(one["predictions"]) if is_number(one.get("predictions")) else 0.0 for one in told]
    answered = total.get("predictions")
    words = f"{number(answered)} predictions"
    if is_number(total.get("p50_us")):
        words += (
            f"; half within {micros(total.get('p50_us'))}, 95 % within {micros(total.get('p95_us'))}, 99 % within"
            f" {micros(total.get('p99_us'))}"
        )
    curves = [
        Curve(
            name,
            [(float(i), one[key] / 1e3) for i, one in enumerate(told, start=1 - len(told)) if is_number(one.get(key))],
        )
        for key, name in (("p50_us", "half"), ("p95_us", "95 %"), ("p99_us", "99 %"))
    ]
    drawn = [curve for curve in curves if len(curve.points) > 1]
    return Traffic(
        volume=spark(counts, f"Predictions by the {step}, the newest at the right, at most {number(int(max(counts)))}")
        if any(counts)
        else "",
        latency=as_svg(Chart(f"Latency by the {step}", f"{step}s from now", "milliseconds", drawn)) if drawn else "",
        words=words if is_number(answered) else "",
        versions=tuple(
            (text(name), number(count))
            for name, count in sorted(part(total, "versions").items(), key=lambda one: text(one[0]))
        ),
    )


def _open(one: dict[str, Any]) -> Open:
    metrics = part(one.get("metrics"))
    said = [f"{name.replace('_', ' ')} {figure(v)}" for name, v in metrics.items() if is_number(v)]
    return Open(
        text(one.get("version")),
        number(one.get("predictions")),
        number(one.get("labels")),
        " · ".join(said[:3]) or DASH,
    )


def _window(one: dict[str, Any], now: datetime) -> Window:
    return Window(
        text(one.get("version")),
        number(one.get("rows")),
        state(one.get("outcome")),
        text(one.get("summary")),
        moment(one.get("upto"), now),
    )


def _judged(one: dict[str, Any], now: datetime) -> Judged:
    low, high = one.get("low"), one.get("high")
    known = is_number(low) and is_number(high)
    return Judged(
        version=text(one.get("version")),
        predictions=number(one.get("predictions")),
        labels=number(one.get("labels")),
        metric=text(one.get("metric")).replace("_", " "),
        value=figure(one.get("value")),
        interval=f"{figure(low)} to {figure(high)}" if known else DASH,
        reference=figure(one.get("reference")),
        outcome=state(one.get("outcome")),
        upto=moment(one.get("upto"), now),
    )


def _alarm(one: dict[str, Any], now: datetime) -> Alarm:
    outcome = one.get("outcome")
    waits = text(one.get("waits_for"), "nothing yet")
    return Alarm(
        text(one.get("detector")),
        text(one.get("reason")),
        moment(one.get("raised_at"), now),
        f"open: {waits}" if outcome is None else text(outcome).replace("_", " "),
        outcome is None,
    )


def _shadow(one: dict[str, Any]) -> tuple[str, ...]:
    changed = one.get("changed")
    return (
        text(one.get("version")),
        text(one.get("shadow_version")),
        number(one.get("rows")),
        figure(one.get("mean_absolute_difference")),
        f"{100 * changed:.3g} %" if is_number(changed) else DASH,
    )


def _features(window: dict[str, Any]) -> Markup | str:
    rows = [
        (text(one.get("feature")), float(one["strength"]), figure(one["strength"]))
        for one in items(window, "features")[:_MOST_FEATURES]
        if is_number(one.get("strength"))
    ]
    return strengths(rows, "Drift of each feature; from 1 it drifts", limit=1.0)


def _course(live: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Return the metric by window, oldest first, with its interval and the hold-out's value; nothing for one window.

    A window with few labels may be judged by another metric than the policy's: what most were judged by is drawn.
    """
    told = [one for one in live[::-1] if is_number(one.get("value"))]
    metrics = [text(one.get("metric"), "") for one in told]
    metric = max(reversed(metrics), key=metrics.count, default="")
    told = [one for one, of in zip(told, metrics, strict=True) if of == metric]
    if len(told) < 2:
        return "", ""
    lines = [("value", "live"), ("low", "interval, low"), ("high", "interval, high"), ("reference", "hold-out")]
    curves = [
        Curve(name, [(float(i), float(one[key])) for i, one in enumerate(told, start=1) if is_number(one.get(key))])
        for key, name in lines
    ]
    name = metric.replace("_", " ")
    words = f"{name} by window, from {figure(told[0]['value'])} to {figure(told[-1]['value'])}"
    return as_svg(Chart(words, "window", name, [curve for curve in curves if curve.points])), words
