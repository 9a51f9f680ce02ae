"""The gate: what a version must show on its hold-out before it may become champion. Pure numpy, one implementation.

The loss of a row is the logarithmic loss of its true class, or the squared error. Models are compared row by row on the
same rows: the mean of the paired differences, against their standard error, says whether a difference is more than
noise. A challenger that cannot be told from the champion is refused.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.policy import GatePolicy

FloatArray = npt.NDArray[np.float64]
#: No probability counts as less: one certain mistake (or a class that was never seen) costs 13.8, not infinity.
FLOOR = 1e-6
LOSS_NAMES = {"binary": "log-loss", "multiclass": "log-loss", "regression": "squared error"}


@dataclass(frozen=True)
class Check:
    """One demand: passed when ``value`` fulfils ``threshold`` as ``words`` say. None: could not be measured."""

    name: str
    value: float | None
    threshold: float
    passed: bool
    words: str


@dataclass(frozen=True)
class GateReport:
    """The verdict; ``passed`` when every check did. ``metrics`` by model: challenger, champion (if any), prior."""

    summary: str
    passed: bool
    checks: tuple[Check, ...]
    rows: int
    metrics: dict[str, dict[str, float]]
    champion_version: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, the sentence first."""
        return {**asdict(self), "checks": [asdict(check) for check in self.checks]}


def row_losses(task: str, labels: npt.NDArray[Any], predictions: FloatArray) -> FloatArray:
    """Return the loss of each row, shape (rows,).

    Args:
        task: binary, multiclass or regression.
        labels: shape (rows,): class indexes, -1 for a class that the model does not know; or values.
        predictions: probabilities (rows, classes), or values (rows,).
    """
    if task == "regression":
        return np.asarray((predictions - labels) ** 2)
    known = labels >= 0
    of_truth = np.where(known, predictions[np.arange(len(labels)), np.where(known, labels, 0)], 0.0)
    return np.asarray(-np.log(np.clip(of_truth, FLOOR, 1.0)))


def judge(
    task: str,
    labels: npt.NDArray[Any],
    *,
    challenger: FloatArray,
    champion: FloatArray | None,
    prior: FloatArray,
    settings: GatePolicy,
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
        champion_version: for the words.
        champion_note: why there is a champion but no ``champion`` to compare with; empty otherwise.
    """
    losses = {"challenger": row_losses(task, labels, challenger), "prior": row_losses(task, labels, prior)}
    checks = [_enough_rows(len(labels), settings.min_rows)]
    checks.append(_beats_prior(task, losses["prior"] - losses["challenger"], settings.noise_margin))
    if champion is not None:
        losses["champion"] = row_losses(task, labels, champion)
        better = losses["champion"] - losses["challenger"]
        checks.append(_beats_champion(task, better, settings, champion_version))
    measured = {"challenger": challenger, "champion": champion, "prior": prior}
    figures = {
        name: measure(task, labels, answers)
        for name, answers in measured.items()
        if answers is not None and len(labels)
    }
    passed = all(check.passed for check in checks)
    summary = _summary(checks, passed=passed, compared=champion is not None, note=champion_note)
    return GateReport(summary, passed, tuple(checks), len(labels), figures, champion_version)


def measure(
    task: str, labels: npt.NDArray[Any], predictions: FloatArray, *, threshold: float = 0.5
) -> dict[str, float]:
    """Return the metrics of docs/api.md that can be computed on these rows (at least one).

    ``threshold`` is the probability from which on a binary model answers the second class.
    """
    found = {"loss": float(row_losses(task, labels, predictions).mean())}
    attempts: dict[str, Callable[[], float]]
    if task == "regression":
        attempts = {name: _bind(getattr(metrics, name), labels, predictions) for name in ("rmse", "mae", "r2")}
    else:
        known = labels >= 0
        truth, given = labels[known], predictions[known]
        attempts = {
            "log_loss": lambda: metrics.log_loss(truth, given),
            "accuracy": lambda: metrics.accuracy(labels, _answered(task, predictions, threshold)),
        }
        if task == "binary":
            attempts["roc_auc"] = lambda: metrics.roc_auc(truth == 1, given[:, 1])
    for name, attempt in attempts.items():
        try:
            found[name] = attempt()
        except ValueError:  # one class only, a constant label: the metric has no value on these rows
            continue
    return found


def _answered(task: str, predictions: FloatArray, threshold: float) -> npt.NDArray[np.intp]:
    """Return the class index that a model answers each row with, as :meth:`Predictor.predictions` does."""
    if task == "binary":
        return np.asarray(predictions[:, 1] >= threshold, dtype=np.intp)
    return np.asarray(predictions.argmax(axis=1))


def _bind(metric: Callable[..., float], labels: npt.NDArray[Any], predictions: FloatArray) -> Callable[[], float]:
    return lambda: metric(labels, predictions)


def _enough_rows(rows: int, needed: int) -> Check:
    words = f"{rows:,} test rows that no version was fitted on; {needed:,} are needed"
    return Check("enough_rows", float(rows), float(needed), rows >= needed, words)


def _beats_prior(task: str, gains: FloatArray, noise_margin: float) -> Check:
    mean, error = _mean_and_error(gains)
    if mean is None or error is None:
        return Check("beats_prior", mean, 0.0, False, "too few test rows to compare with always answering the average")
    threshold = noise_margin * error
    passed = mean > 0 and mean >= threshold
    words = (
        f"{_gain(task, mean)} against always answering the average; more than 0 and at least {noise_margin:g}"
        f" standard error(s) = {threshold:.5g} is needed"
    )
    return Check("beats_prior", mean, threshold, passed, words)


def _beats_champion(task: str, gains: FloatArray, settings: GatePolicy, version: int | None) -> Check:
    name = "the champion" if version is None else f"the champion (version {version})"
    mean, error = _mean_and_error(gains)
    if mean is None or error is None:
        return Check(
            "beats_champion", mean, settings.min_improvement, False, f"too few test rows to compare with {name}"
        )
    threshold = max(settings.min_improvement, settings.noise_margin * error)
    words = (
        f"{_gain(task, mean)} against {name} on the same rows; more than {threshold:.5g} is needed (the larger of"
        f" {settings.min_improvement:g} and {settings.noise_margin:g} standard error(s))"
    )
    return Check("beats_champion", mean, threshold, mean > threshold, words)


def _mean_and_error(gains: FloatArray) -> tuple[float | None, float | None]:
    """Return mean and standard error of paired differences; an error takes two rows."""
    if len(gains) < 2:
        return (float(gains.mean()) if len(gains) else None), None
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))


def _gain(task: str, mean: float) -> str:
    return f"{LOSS_NAMES[task]} {'lower' if mean >= 0 else 'higher'} by {abs(mean):.5g}"


def _summary(checks: list[Check], *, passed: bool, compared: bool, note: str) -> str:
    failed = [check.words for check in checks if not check.passed]
    if not passed:
        return "refused: " + "; ".join(failed) + (f" ({note})" if note else "")
    if compared:
        return f"passed: {checks[-1].words}"
    return f"passed: {note or 'there is no champion yet'}, and {checks[1].words}"
