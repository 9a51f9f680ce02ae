"""The verdict on a version: the checks that every one must pass, with the soft ones of :mod:`trainyard.gate.limits`.

Models are compared on the same rows: the gain in the policy's metric, or by default in the loss of each row (the
logarithmic loss of its true class, or the squared error), with a bootstrap interval (:mod:`trainyard.gate.paired`) that
says whether it is more than noise. A challenger that cannot be told from the champion is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.gate.limits import limits, no_slice_worse
from trainyard.gate.measures import LOSS_NAMES, measure, row_losses
from trainyard.gate.paired import compared, interval_of, mean_gain
from trainyard.gate.report import NOT_MEASURED, Check, GateReport
from trainyard.gate.slices import compare_slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from trainyard.gate.measures import FloatArray
    from trainyard.gate.paired import Interval
    from trainyard.gate.report import Cost
    from trainyard.gate.slices import Cut
    from trainyard.policy import GatePolicy

#: These are the mean of the rows' losses; the other metrics are compared as they are.
_LOSSES = ("auto", "log_loss")
_BETTER_LOWER = ("loss", "rmse", "mae")


def judge(
    task: str,
    labels: npt.NDArray[Any],
    *,
    challenger: FloatArray,
    champion: FloatArray | None,
    prior: FloatArray,
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
        challenger, champion, prior: probabilities (rows, classes) in the challenger's order, or values (rows,), all
            for the same rows. ``prior`` answers every row with the shares (or the mean) of the rows learnt from.
        settings: what to demand.
        metric: what the champion must be beaten in: 'auto' (the loss) or a metric of the task.
        seed: of the bootstrap.
        cuts: parts of the rows in which the challenger must not be worse.
        cost: what the challenger costs to serve.
        champion_version: for the words.
        champion_note: why there is a champion but no ``champion`` to compare with; empty otherwise.
    """
    losses = {"challenger": row_losses(task, labels, challenger), "prior": row_losses(task, labels, prior)}
    checks = [_enough_rows(len(labels), settings.min_rows)]
    over_prior = mean_gain(losses["prior"] - losses["challenger"])
    gain = interval_of("loss", over_prior, confidence=settings.confidence, seed=seed)
    checks.append(_beats_prior(task, gain, settings.confidence))
    interval = slices = None
    if champion is not None:
        losses["champion"] = row_losses(task, labels, champion)
        if metric in _LOSSES:
            sums, metric = mean_gain(losses["champion"] - losses["challenger"]), "loss"
        else:
            sums = compared(metric, labels, challenger, champion)
        interval = interval_of(metric, sums, confidence=settings.confidence, seed=seed)
        checks.append(_beats_champion(task, metric, interval, settings, champion_version))
        if cuts and settings.max_slice_loss is not None:
            slices = compare_slices(
                cuts,
                challenger=losses["challenger"],
                champion=losses["champion"],
                allowed=settings.max_slice_loss,
                min_rows=settings.min_slice_rows,
                confidence=settings.confidence,
            )
            checks.append(no_slice_worse(slices, settings.max_slice_loss, settings.min_slice_rows))
    instead = prior if champion is None else champion
    checks += limits(task, labels, challenger=challenger, instead=instead, settings=settings, cost=cost)
    measured = {"challenger": challenger, "champion": champion, "prior": prior}
    figures = {
        name: measure(task, labels, answers)
        for name, answers in measured.items()
        if answers is not None and len(labels)
    }
    passed = all(check.passed for check in checks)
    summary = _summary(checks, passed=passed, compared=champion is not None, note=champion_note)
    return GateReport(
        summary,
        passed,
        tuple(checks),
        len(labels),
        figures,
        champion_version,
        interval,
        slices,
        cost,
        borderline=_borderline(checks, interval, settings.borderline_margin),
    )


def _enough_rows(rows: int, needed: int) -> Check:
    words = f"{rows:,} test rows that no version was fitted on; {needed:,} are needed"
    return Check("enough_rows", float(rows), float(needed), rows >= needed, words)


def _beats_prior(task: str, gain: Interval | None, confidence: float) -> Check:
    if gain is None:
        words = "too few test rows to compare with always answering the average"
        return Check("beats_prior", None, 0.0, False, words)
    threshold = _needed(gain, 0.0)
    words = (
        f"{_gain(task, gain)} against always answering the average; more than {threshold:.5g} is needed to be sure to"
        f" {_percent(confidence)}"
    )
    return Check("beats_prior", gain.gain, threshold, gain.gain > 0 and gain.lower > 0, words)


def _beats_champion(task: str, metric: str, gain: Interval | None, settings: GatePolicy, version: int | None) -> Check:
    name = "the champion" if version is None else f"the champion (version {version})"
    least = settings.min_improvement
    if gain is None:
        what = LOSS_NAMES[task] if metric == "loss" else metric
        words = f"the test rows are too few, or too much alike, to compare the {what} with that of {name}"
        return Check("beats_champion", None, least, False, words)
    threshold = _needed(gain, least)
    words = (
        f"{_gain(task, gain)} against {name} on the same rows; more than {threshold:.5g} is needed (the larger of"
        f" {least:g} and what it takes to be sure to {_percent(settings.confidence)})"
    )
    return Check("beats_champion", gain.gain, threshold, gain.gain > max(least, 0.0) and gain.lower > 0, words)


def _borderline(checks: list[Check], interval: Interval | None, margin: float) -> bool:
    """Tell whether a person may want to look: every failed check is soft, or the lower bound is barely above 0."""
    failed = [check for check in checks if not check.passed]
    if failed:
        return all(check.soft for check in failed)
    return interval is not None and interval.lower < margin


def _needed(gain: Interval, least: float) -> float:
    """Return what the gain must exceed: ``least``, and the distance from the gain to its lower bound."""
    return max(least, gain.gain - gain.lower, 0.0)


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.5g} %"


def _gain(task: str, gain: Interval) -> str:
    name = LOSS_NAMES[task] if gain.metric == "loss" else gain.metric
    better, worse = ("lower", "higher") if gain.metric in _BETTER_LOWER else ("higher", "lower")
    return f"{name} {better if gain.gain >= 0 else worse} by {abs(gain.gain):.5g}"


def _summary(checks: list[Check], *, passed: bool, compared: bool, note: str) -> str:
    failed = [check.words for check in checks if not check.passed]
    if not passed:
        return "refused: " + "; ".join(failed) + (f" ({note})" if note else "")
    if compared:
        return f"passed: {checks[2].words}"
    return f"passed: {note or 'there is no champion yet'}, and {checks[1].words}"
