"""What a window of predictions means: drift, a loss of quality, nothing, or not enough to say so. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trainyard.durations import in_words
from trainyard.intervals import HIGHER_IS_BETTER
from trainyard.policy import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.monitoring import Spent
    from trainyard.drift import Effect
    from trainyard.intervals import Interval
    from trainyard.monitoring_policy import MonitoringPolicy
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


def judge_quality(
    scores: Scores | None,
    *,
    predictions: int,
    labels: int,
    age: float,
    reference: Mapping[str, float],
    metric: str,
    settings: MonitoringPolicy,
) -> Finding:
    """Judge how well a version did in a window.

    Args:
        scores: the labelled answers; None when no label can be compared.
        predictions, labels: of the window; labels that are null do not count.
        age: seconds since the window ended.
        reference: the version's metrics on its hold-out.
        metric: of the policy; "auto" is the first of the task.
        settings: what counts.
    """
    numbers: dict[str, Any] = {"predictions": predictions, "labels": labels}
    told = f"{labels:,} labels of {predictions:,} predictions"
    waits = settings.label_wait - age
    again = waits if labels < predictions and waits > 0 else None
    if scores is not None:
        name = METRICS[scores.task][0] if metric == "auto" else metric
        interval = scores.interval(name, confidence=settings.confidence)
        numbers |= {"metric": name, "reference": reference.get(name), **_figures(interval, settings)}
    if again is not None:
        return Finding("not_enough_data", f"{told}; waits {in_words(waits)} for the others", numbers, again)
    if labels < settings.min_rows:
        return Finding("not_enough_data", f"{told}; {settings.min_rows:,} are needed", numbers)
    if scores is None or interval is None:
        return Finding("not_enough_data", f"{told}; they give the metric no value", numbers)
    if numbers["reference"] is None:
        return Finding("not_enough_data", f"{told}; the version has no {name} on its hold-out", numbers)
    return _compare(name, interval, numbers, settings, told)


def _figures(interval: Interval | None, settings: MonitoringPolicy) -> dict[str, Any]:
    return {} if interval is None else {**asdict(interval), "confidence": settings.confidence}


def _compare(name: str, interval: Interval, numbers: dict[str, Any], settings: MonitoringPolicy, told: str) -> Finding:
    reference = numbers["reference"]
    allowed = allowed_drop(name, reference, settings)
    end = interval.better_end(name)
    lost = reference - end if name in HIGHER_IS_BETTER else end - reference
    numbers = {**numbers, "max_quality_drop": allowed}
    figures = (
        f"{name} {interval.value:.4g} ({interval.low:.4g} to {interval.high:.4g}), on the hold-out {reference:.4g}"
    )
    if lost > allowed:
        return Finding("alarm", f"quality dropped by more than {allowed:.4g}: {figures}; {told}", numbers)
    return Finding("steady", f"{figures}; {told}", numbers)


def allowed_drop(metric: str, reference: float, settings: MonitoringPolicy) -> float:
    """Return by how much the metric may be worse than on the hold-out."""
    if settings.max_quality_drop is not None:
        return settings.max_quality_drop
    return _DEFAULT_DROP if metric in HIGHER_IS_BETTER else _DEFAULT_DROP_SHARE * abs(reference)


def held_back(settings: MonitoringPolicy, spent: Spent, *, version: int, champion: int | None) -> str | None:
    """Return why an alarm of ``version`` asks for nothing; None: it does."""
    if version != champion:
        return f"not raised: version {version} is not the champion any more"
    if spent.today >= settings.max_alarms_per_day:
        return f"not raised: {spent.today:,} alarms in 24 h, of at most {settings.max_alarms_per_day:,}"
    if spent.since_last is not None and spent.since_last < settings.cool_down:
        return f"not raised: the last alarm was {in_words(spent.since_last)} ago, of {in_words(settings.cool_down)}"
    return None
