"""What a search minimises, which trials may be chosen, and how they are blended. Pure."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard import metrics
from trainyard.leaderboard import rank
from trainyard.metrics.measures import measure, row_losses
from trainyard_trainer.learning.thresholds import threshold_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from trainyard.contracts.runs import Trial
    from trainyard.model.dto import FloatArray

#: Only so many of the best may become the model or a part of it (Caruana 2004 prunes its library likewise).
SHORTLIST = 5
_BLEND_STEPS = 25
#: Planned trials below which no proposal is pruned by them.
_LEAST_FOR_BAR = 3
_BLEND_GAIN = 1e-3  # share of the loss that a blend must save to be worth its members


def loss(task: str, metric: str, labels: npt.NDArray[Any], answers: FloatArray) -> float:
    """Return what the choice minimises, as :func:`~trainyard.leaderboard.rank` reads it off a trial's figures."""
    if metric == "roc_auc" and task == "binary" and len(np.unique(labels)) == 2:
        return 1.0 - metrics.roc_auc(labels == 1, answers[:, 1])
    if metric in metrics.OF_DECISIONS and task != "regression":
        threshold = threshold_for(task, metric, labels, answers)
        return 1.0 - measure(task, labels, answers, threshold=threshold).get(metric, 0.0)
    if metric == "mae" and task == "regression":
        return metrics.mae(labels, answers)
    return float(row_losses(task, labels, answers).mean())


def shortlist(trials: Sequence[Trial], metric: str) -> list[int]:
    """Return the numbers of the few that may be chosen: the best of each kind, then the best of all.

    A trial that is worse than the prior in the gate's loss, whatever the policy's metric, is never among them: unseen
    rows would refuse it. A kind has one place for sure because blends live on difference.
    """
    prior = min(trial.metrics["loss"] for trial in trials if trial.kind == "prior")
    whole = [trial for trial in trials if not trial.pruned]
    able = [trial for trial in whole if trial.kind == "prior" or trial.metrics["loss"] < prior]
    able.sort(key=lambda trial: (rank(trial.metrics, metric), trial.number))
    firsts = {trial.kind: trial.number for trial in reversed(able)}
    able.sort(key=lambda trial: trial.number not in firsts.values())
    return sorted(trial.number for trial in able[:SHORTLIST])


def bar(trials: Sequence[Trial], *, planned: int) -> float:
    """Return what a proposal must not lose more than on the first cut: the median of the planned trials, but the prior.

    Not of all trials: they get better, and in the end none would pass. Infinite where few have a figure.
    """
    firsts = [t.metrics["first_cut"] for t in trials if 1 < t.number <= planned and "first_cut" in t.metrics]
    return median(firsts) if len(firsts) >= _LEAST_FOR_BAR else math.inf


def worth_going_on(trials: Sequence[Trial], metric: str, *, planned: int, patience: int) -> bool:
    """Tell whether more proposals may bring something: some of the last ``patience`` have, or there were not as many.

    Trials with a number above ``planned`` were proposed. Something is 0.1 % of what the best one loses.
    """
    best, in_vain = math.inf, 0
    for trial in sorted(trials, key=lambda trial: trial.number):
        value = rank(trial.metrics, metric)
        if not trial.pruned and value < best - _BLEND_GAIN * abs(value):
            best, in_vain = value, 0
        elif trial.number > planned:
            in_vain += 1
    return in_vain < patience


def weights(task: str, metric: str, labels: npt.NDArray[Any], answers: Sequence[FloatArray]) -> FloatArray:
    """Return a weight for each: all on the best, or a blend chosen greedily when it helps (Caruana 2004)."""
    losses = [loss(task, metric, labels, given) for given in answers]
    best = int(np.argmin(losses))
    alone = np.zeros(len(answers))
    alone[best] = 1.0
    counts = np.zeros(len(answers))
    total = np.zeros_like(answers[best])
    for step in range(_BLEND_STEPS):
        steps = [loss(task, metric, labels, (total + given) / (step + 1)) for given in answers]
        pick = int(np.argmin(steps))
        counts[pick] += 1
        total += answers[pick]
    blended = loss(task, metric, labels, total / _BLEND_STEPS)
    return counts / _BLEND_STEPS if blended < losses[best] - _BLEND_GAIN * abs(losses[best]) else alone


def advantage(task: str, labels: npt.NDArray[Any], prior: FloatArray, answers: FloatArray) -> float:
    """Return how much better than the prior's the answers are in the gate's loss, in standard errors of the mean gain.

    Args:
        task: binary, multiclass or regression.
        labels: shape (rows,).
        prior: the prior's answers to these rows.
        answers: likewise, of what has not learnt from them.
    """
    gains = row_losses(task, labels, prior) - row_losses(task, labels, answers)
    error = float(gains.std()) / math.sqrt(len(gains))
    return float(gains.mean()) / error if error else math.copysign(math.inf, gains.mean()) if gains.any() else 0.0
