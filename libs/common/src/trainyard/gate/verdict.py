"""The verdict on a version: the checks that every one must pass, with the soft ones of :mod:`trainyard.gate.limits`.

Models are compared on the same rows: the gain in the policy's metric, or by default in the loss of each row (the
logarithmic loss of its true class, or the squared error), with a bootstrap interval (:mod:`trainyard.gate.paired`) that
says whether it is more than noise. A challenger that cannot be told from the champion is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.gate.limits import limits, no_slice_worse
from trainyard.gate.paired import interval_of
from trainyard.gate.report import NOT_MEASURED, Check, GateReport
from trainyard.gate.slices import compare_slices
from trainyard.metrics import HIGHER_IS_BETTER
from trainyard.metrics.measures import LOSS_NAMES, measure, row_losses
from trainyard.metrics.statistics import gain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from trainyard.gate.paired import Interval
    from trainyard.gate.report import Cost
    from trainyard.metrics.answers import Answers
    from trainyard.metrics.slicing import Cut
    from trainyard.policy import GatePolicy

#: These are the mean of the rows' losses; the other metrics are compared as they are.
_LOSSES = ("auto", "log_loss")


def judge(
    task: str,
    labels: npt.NDArray[Any],
    *,
    challenger: Answers,
    champion: Answers | None,
    prior: Answers,
    settings: GatePolicy,
    metric: str = "auto",
    seed: int = 0,
    cuts: Sequence[Cut] = (),
    cost: Cost = NOT_MEASURED,
    champion_version: int | None = None,
    champion_note: str = "",
) -> GateReport:
    """Compare the challenger with the prior and with the champion on the hold-out's rows.

    Args:
        task: binary, multiclass or regression.
        labels: shape (rows,): class indexes in the challenger's order, -1 for a class it does not know; or values.
        challenger, champion, prior: what each answers to these rows, classes in the challenger's order, and decides by
            its own threshold. ``prior`` answers every row with the shares (or the mean) of the rows learnt from.
        settings: what to demand.
        metric: what the champion must be beaten in: 'auto' (the loss) or a metric of the task.
        seed: of the bootstrap.
        cuts: parts of the rows in which the challenger must not be worse.
        cost: what the challenger costs to serve.
        champion_version: for the words.
        champion_note: why there is a champion but no ``champion`` to compare with; empty otherwise.
    """
    metric = "loss" if metric in _LOSSES else metric
    checks = [_enough_rows(len(labels), settings.min_rows)]
    confidence = settings.confidence
    over_prior = interval_of("loss", gain("loss", task, labels, challenger, prior), confidence=confidence, seed=seed)
    checks.append(_beats_prior(task, over_prior, confidence))
    interval = slices = None
    if champion is not None:
        over_champion = gain(metric, task, labels, challenger, champion)
        interval = interval_of(metric, over_champion, confidence=confidence, seed=seed)
        checks.append(_beats_champion(task, metric, interval, settings, champion_version))
        if cuts and settings.max_slice_loss is not None:
            slices = compare_slices(
                cuts,
                challenger=row_losses(task, labels, challenger.outputs),
                champion=row_losses(task, labels, champion.outputs),
                allowed=settings.max_slice_loss,
                min_rows=settings.min_slice_rows,
                confidence=confidence,
            )
            checks.append(no_slice_worse(slices, settings.max_slice_loss, settings.min_slice_rows))
    instead = prior if champion is None else champion
    checks += limits(task, labels, challenger=challenger.outputs, instead=instead.outputs, settings=settings, cost=cost)
    passed = all(check.passed for check in checks)
    return GateReport(
        _summary(checks, passed=passed, compared=champion is not None, note=champion_note),
        passed,
        tuple(checks),
        len(labels),
        _figures(task, labels, {"challenger": challenger, "champion": champion, "prior": prior}),
        champion_version,
        interval,
        slices,
        cost,
        borderline=_borderline(checks, interval, settings.borderline_margin),
    )


def _figures(task: str, labels: npt.NDArray[Any], models: Mapping[str, Answers | None]) -> dict[str, dict[str, float]]:
    return {
        name: measure(task, labels, of.outputs, decided=of.decided)
        for name, of in models.items()
        if of is not None and len(labels)
    }


def _enough_rows(rows: int, needed: int) -> Check:
    words = f"{rows:,} test rows that no version was fitted on; {needed:,} are needed"
    return Check("enough_rows", float(rows), float(needed), rows >= needed, words)


def _beats_prior(task: str, found: Interval | None, confidence: float) -> Check:
    if found is None:
        words = "too few test rows to compare with always answering the average"
        return Check("beats_prior", None, 0.0, False, words)
    threshold = _needed(found, 0.0)
    words = (
        f"{_gain(task, found)} against always answering the average; more than {threshold:.5g} is needed to be sure to"
        f" {_percent(confidence)}"
    )
    return Check("beats_prior", found.gain, threshold, found.gain > 0 and found.lower > 0, words)


def _beats_champion(task: str, metric: str, found: Interval | None, settings: GatePolicy, version: int | None) -> Check:
    name = "the champion" if version is None else f"the champion (version {version})"
    least = settings.min_improvement
    if found is None:
        what = LOSS_NAMES[task] if metric == "loss" else metric
        words = f"the test rows are too few, or too much alike, to compare the {what} with that of {name}"
        return Check("beats_champion", None, least, False, words)
    threshold = _needed(found, least)
    words = (
        f"{_gain(task, found)} against {name} on the same rows; more than {threshold:.5g} is needed (the larger of"
        f" {least:g} and what it takes to be sure to {_percent(settings.confidence)})"
    )
    return Check("beats_champion", found.gain, threshold, found.gain > max(least, 0.0) and found.lower > 0, words)


def _borderline(checks: list[Check], interval: Interval | None, margin: float) -> bool:
    """Tell whether a person may want to look: every failed check is soft, or the lower bound is barely above 0."""
    failed = [check for check in checks if not check.passed]
    if failed:
        return all(check.soft for check in failed)
    return interval is not None and interval.lower < margin


def _needed(found: Interval, least: float) -> float:
    """Return what the gain must exceed: ``least``, and the distance from the gain to its lower bound."""
    return max(least, found.gain - found.lower, 0.0)


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.5g} %"


def _gain(task: str, found: Interval) -> str:
    name = LOSS_NAMES[task] if found.metric == "loss" else found.metric
    better, worse = ("higher", "lower") if found.metric in HIGHER_IS_BETTER else ("lower", "higher")
    return f"{name} {better if found.gain >= 0 else worse} by {abs(found.gain):.5g}"


def _summary(checks: list[Check], *, passed: bool, compared: bool, note: str) -> str:
    failed = [check.words for check in checks if not check.passed]
    if not passed:
        return "refused: " + "; ".join(failed) + (f" ({note})" if note else "")
    if compared:
        return f"passed: {checks[2].words}"
    return f"passed: {note or 'there is no champion yet'}, and {checks[1].words}"
