"""What a window of predictions means: drift, a loss of quality, nothing, or not enough to say so. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trainyard.durations import in_words
from trainyard.metrics import HIGHER_IS_BETTER
from trainyard.policy import METRICS
from trainyard_scheduler.domain.scoring import uncomparable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.monitoring import Reference, Spent
    from trainyard.drift import Effect
    from trainyard.metrics.intervals import Interval
    from trainyard.policy import MonitoringPolicy
    from trainyard_scheduler.domain.scoring import Scores

#: An effect so many times the least one is an alarm at once.
STRONG = 2.0
#: Features that a report lists, the strongest effects first.
_MOST_FEATURES = 100
#: The loss that is allowed when the policy names none: absolute, or as a share of the hold-out's value.
_DEFAULT_DROP = 0.05
_DEFAULT_DROP_SHARE = 0.2


@dataclass(frozen=True)
class Finding:
    """What was found: one of ``OUTCOMES``, in words, with its numbers; ``again_in`` seconds it is to be looked at."""

    outcome: str
    summary: str
    numbers: Mapping[str, Any]
    again_in: float | None = None

    @property
    def report(self) -> dict[str, Any]:
        """Return words and numbers as they are stored."""
        return {"summary": self.summary, **self.numbers}


def judge_drift(
    effects: Sequence[Effect], rows: int, settings: MonitoringPolicy, earlier: Sequence[Mapping[str, Any]]
) -> Finding:
    """Judge a window of ``rows`` predictions.

    Args:
        effects: of all features.
        rows: predictions of the window.
        settings: what counts.
        earlier: the reports of the windows before it, the latest first, at most ``persistence - 1`` of them.
    """
    if rows < settings.min_rows:
        return Finding("not_enough_data", f"{rows:,} of {settings.min_rows:,} predictions", {"drifting": []})
    strengths = {one.feature: _strength(one, settings) for one in effects}
    ranked = sorted(effects, key=lambda one: (-strengths[one.feature], one.feature))
    drifting = [one.feature for one in ranked if strengths[one.feature] >= 1.0]
    before = [set(report.get("drifting", ())) for report in earlier[: settings.persistence - 1]]
    enough = len(before) == settings.persistence - 1
    lasting = [name for name in drifting if enough and all(name in names for names in before)]
    strong = [name for name in drifting if strengths[name] >= STRONG]
    features = [{**asdict(one), "strength": strengths[one.feature]} for one in ranked[:_MOST_FEATURES]]
    numbers = {"drifting": drifting, "features": features}
    if not drifting:
        return Finding("steady", f"no feature drifts in {rows:,} predictions", numbers)
    told = "; ".join(_told(one, settings) for one in ranked[: min(len(drifting), 3)])
    if strong or lasting:
        why = "strong" if strong else f"{settings.persistence} windows in a row"
        return Finding("alarm", f"drift ({why}): {told}", numbers)
    return Finding("suspect", f"drift, not yet {settings.persistence} windows in a row: {told}", numbers)


def _strength(effect: Effect, settings: MonitoringPolicy) -> float:
    return effect.strength(min_effect=settings.min_effect, min_distance=settings.min_distance)


def _told(effect: Effect, settings: MonitoringPolicy) -> str:
    words = f"{effect.feature}: stability index {effect.psi:.2f} (from {settings.min_effect:g})"
    if effect.distance is not None:
        words += f", {effect.distance:.2f} standard deviations away (from {settings.min_distance:g})"
    if effect.new_levels:
        words += f", {effect.new_levels:,} new levels"
    return words


@dataclass(frozen=True)
class Comparison:
    """A live metric beside the hold-out's.

    Attributes:
        reference: the metric on the hold-out.
        allowed: by how much the live one may be worse.
        lost: by how much it is worse at least, given how well both are known.
    """

    metric: str
    interval: Interval
    confidence: float
    reference: float
    allowed: float
    lost: float

    @property
    def dropped(self) -> bool:
        """True when more was lost than is allowed."""
        return self.lost > self.allowed

    @property
    def numbers(self) -> dict[str, Any]:
        """Return the figures as they are stored."""
        return {
            "metric": self.metric,
            "reference": self.reference,
            **asdict(self.interval),
            "confidence": self.confidence,
            "max_quality_drop": self.allowed,
            "lost": self.lost,
        }


def judge_quality(
    scores: Scores | None,
    *,
    predictions: int,
    chosen: int,
    labels: int,
    age: float,
    reference: Reference,
    metric: str,
    settings: MonitoringPolicy,
) -> Finding:
    """Judge how well a version did in a window.

    Where the policy's metric has no value, here or on the hold-out, the others of the task are judged: by the loss
    that is allowed by default, as the policy's figure is in the unit of its own metric.

    Args:
        scores: the labelled answers; None when no label can be compared.
        predictions: of the window.
        chosen: how many of them were looked at, all or an even choice.
        labels: how many of those have one; labels that are null do not count.
        age: seconds since the window ended.
        reference: the version on its hold-out.
        metric: of the policy; "auto" is the first of the task.
        settings: what counts.
    """
    told = f"{labels:,} labels of {chosen:,} predictions"
    if chosen < predictions:
        told += f" chosen out of {predictions:,}"
    strange = uncomparable(scores, labels)
    numbers: dict[str, Any] = {
        "predictions": predictions,
        "chosen": chosen,
        "labels": labels,
        "uncomparable": strange,
    }
    found, why = None, "none of them can be compared with an answer"
    if scores is not None:
        found, why = _judged_by(scores, reference, METRICS[scores.task][0] if metric == "auto" else metric, settings)
        numbers["metrics"] = scores.values()
        if strange:
            told += f", {strange:,} of which cannot be compared with an answer"
    if why and labels:
        numbers["because"] = why
    if found is not None:
        numbers |= {**found.numbers, "reference_rows": reference.rows}
    waits = settings.label_wait - age
    if labels < chosen and waits > 0:
        return Finding("not_enough_data", f"{told}; waits {in_words(waits)} for the others", numbers, waits)
    if labels < settings.min_rows:
        return Finding("not_enough_data", f"{told}; {settings.min_rows:,} are needed", numbers)
    if found is None:
        return Finding("not_enough_data", f"{told}; {why}", numbers)
    if labels - strange < settings.min_rows:
        return Finding("not_enough_data", f"{told}; {settings.min_rows:,} that can be are needed", numbers)
    return _said(found, numbers, f"{told}; {why}, so {found.metric} is judged" if why else told)


def _judged_by(
    scores: Scores, reference: Reference, metric: str, settings: MonitoringPolicy
) -> tuple[Comparison | None, str]:
    """Return the comparison that counts; beside it, when that is not of the policy's metric, why not."""
    own = _compared(
        scores, metric, reference, confidence=settings.confidence, max_quality_drop=settings.max_quality_drop
    )
    if own is not None:
        return own, ""
    lacks = metric in METRICS[scores.task] and metric not in reference.metrics
    why = f"the version has no {metric} on its hold-out" if lacks else scores.why_not(metric)
    others = [name for name in METRICS[scores.task] if name != metric and name in reference.metrics]
    # Bonferroni: several looks at one window find something by chance no more often than one does.
    confidence = round(1.0 - (1.0 - settings.confidence) / max(len(others), 1), 9)
    tried = (_compared(scores, name, reference, confidence=confidence, max_quality_drop=None) for name in others)
    found = [one for one in tried if one is not None]
    if not found:
        return None, f"{why}, and no other metric has a value here and on the hold-out"
    return next((one for one in found if one.dropped), found[0]), why


def _compared(
    scores: Scores, metric: str, reference: Reference, *, confidence: float, max_quality_drop: float | None
) -> Comparison | None:
    """Compare; None where the metric has no value, here or on the hold-out.

    The hold-out's value is as uncertain as its rows are few, by the spread that the window's rows show.
    """
    if metric not in METRICS[scores.task] or metric not in reference.metrics:
        return None
    interval = scores.interval(metric, confidence=confidence)
    if interval is None:
        return None
    on_holdout = reference.metrics[metric]
    lost = on_holdout - interval.value if metric in HIGHER_IS_BETTER else interval.value - on_holdout
    unsure = abs(interval.better_end(metric) - interval.value)
    if reference.rows:
        unsure *= math.sqrt(1.0 + len(scores.labels) / reference.rows)
    allowed = allowed_drop(metric, on_holdout, max_quality_drop)
    return Comparison(metric, interval, confidence, on_holdout, allowed, lost - unsure)


def _said(found: Comparison, numbers: dict[str, Any], told: str) -> Finding:
    one = found.interval
    figures = f"{found.metric} {one.value:.4g} ({one.low:.4g} to {one.high:.4g}), on the hold-out {found.reference:.4g}"
    if found.dropped:
        return Finding("alarm", f"quality dropped by more than {found.allowed:.4g}: {figures}; {told}", numbers)
    return Finding("steady", f"{figures}; {told}", numbers)


def allowed_drop(metric: str, reference: float, max_quality_drop: float | None) -> float:
    """Return by how much the metric may be worse than on the hold-out; None: nobody says."""
    if max_quality_drop is not None:
        return max_quality_drop
    return _DEFAULT_DROP if metric in HIGHER_IS_BETTER else _DEFAULT_DROP_SHARE * abs(reference)


def held_back(settings: MonitoringPolicy, spent: Spent, *, version: int, champion: int | None) -> str | None:
    """Return what holds an alarm of ``version`` back, so that it asks for no training; None: nothing does."""
    if version != champion:
        return f"held back: version {version} is not the champion any more"
    if spent.today >= settings.max_alarms_per_day:
        return f"held back by the daily budget: {spent.today:,} of {settings.max_alarms_per_day:,} alarms in 24 h"
    if spent.last_at is not None:
        until = spent.last_at + timedelta(seconds=settings.cool_down)
        if spent.now < until:
            words = f"the cool-down of {in_words(settings.cool_down)} after the last alarm"
            return f"held back by {words}, until {until.isoformat(timespec='seconds')}"
    return None
