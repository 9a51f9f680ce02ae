"""How good predictions are, in numpy: what the trainer reports on its hold-out and what live quality is measured by.

Every function takes array-likes and returns a float; none averages over nothing: empty input is a ValueError.

Sources: the area under the ROC curve is the Mann-Whitney statistic with average ranks for ties (Hanley and McNeil,
"The meaning and use of the area under a ROC curve", 1982); the logarithmic loss is that of Good, "Rational decisions"
(1952), with probabilities clipped at 1e-15 so that one certain mistake does not make it infinite; R² is one minus
residual over total sum of squares. A test compares all of them with scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_CLIP = 1e-15


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the probability that a positive scores above a negative, ties counting half.

    Args:
        labels: shape (n,), truth values or 0 and 1.
        scores: shape (n,), finite; higher means more likely positive.

    Raises:
        ValueError: only one class is present, or the shapes differ.
    """
    positive, values = _pair(labels, scores, bool, float)
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        raise ValueError("the area under the ROC curve needs both classes")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[inverse]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def placements(labels: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Return each row's share of the rows of the other class that it is on the right side of, ties counting half.

    The mean over the rows of either class is the area under the ROC curve; NaN where the other class is absent.

    Args:
        labels: shape (n,), truth values or 0 and 1.
        scores: shape (n,), finite; higher means more likely positive.
    """
    positive, values = _pair(labels, scores, bool, float)
    _, inverse = np.unique(values, return_inverse=True)
    of_class = [np.bincount(inverse[rows], minlength=inverse.max() + 1) for rows in (~positive, positive)]
    negatives, positives = (counts.astype(float) for counts in of_class)
    below = (np.cumsum(negatives) - negatives / 2.0)[inverse]
    above = (positives.sum() - np.cumsum(positives) + positives / 2.0)[inverse]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(positive, below / negatives.sum(), above / positives.sum()))


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean of ``-log(probability of the true class)``.

    Args:
        labels: shape (n,); truth values or 0 and 1 for binary, class indexes 0..k-1 for multiclass.
        probabilities: shape (n,) of the positive class, or (n, k) whose rows sum to 1.

    Raises:
        ValueError: the shapes do not fit, or a label is not one of the classes.
    """
    given = np.asarray(probabilities, dtype=float)
    if given.ndim == 1:
        positive, given = _pair(labels, given, bool, float)
        of_truth = np.where(positive, given, 1.0 - given)
    else:
        classes = np.asarray(labels, dtype=np.int64)
        if given.ndim != 2 or classes.shape != given.shape[:1] or not len(classes):
            raise ValueError(f"labels of shape {classes.shape} do not fit probabilities of shape {given.shape}")
        if classes.min() < 0 or classes.max() >= given.shape[1]:
            raise ValueError("a label is not one of the classes")
        of_truth = given[np.arange(len(classes)), classes]
    return float(surprise(of_truth).mean())


def surprise(of_truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's logarithmic loss.

    Args:
        of_truth: shape (n,), the probability that each row's true class was given.
    """
    return np.asarray(-np.log(np.clip(of_truth, _CLIP, 1.0 - _CLIP)))


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Return the share of predictions that equal their label; both of shape (n,) and of comparable types."""
    truth, said = np.asarray(labels), np.asarray(predictions)
    _check(truth, said)
    return float(np.mean(truth == said))


def f1(labels: ArrayLike, decided: ArrayLike, *, classes: int) -> float:
    """Return the harmonic mean of precision and recall: of the second of two classes, else the mean over classes.

    Args:
        labels: shape (n,), class indexes; negative for a row of none of the classes, which no answer to is right.
        decided: shape (n,), class indexes likewise.
        classes: how many there are. Of more than two those count that are true or answered somewhere.

    Raises:
        ValueError: the second of two classes is neither true nor answered anywhere.
    """
    return _value(f1_of(*_counts(labels, decided, classes)), "F1 of a class that is never true and never answered")


def balanced_accuracy(labels: ArrayLike, decided: ArrayLike, *, classes: int) -> float:
    """Return the mean over the classes of the share of their rows that is answered rightly.

    Args:
        labels: shape (n,), class indexes; rows with a negative one are left out.
        decided: shape (n,), class indexes.
        classes: how many there are; those without a row do not count.

    Raises:
        ValueError: no row is of any class.
    """
    return _value(
        balanced_accuracy_of(*_counts(labels, decided, classes)), "the balanced accuracy of no row of any class"
    )


def f1_of(true: NDArray[Any], said: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Return F1 from how often each class is true, answered, and both: (..., classes) to (...,); NaN without one."""
    shares = _ratio(2 * right, true + said)
    return np.asarray(shares[..., 1]) if shares.shape[-1] == 2 else _mean_of_known(shares)


def balanced_accuracy_of(true: NDArray[Any], _said: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Return the balanced accuracy from such counts."""
    return _mean_of_known(_ratio(right, true))


def _counts(labels: ArrayLike, decided: ArrayLike, classes: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    truth, said = _pair(labels, decided, int, int)
    of = (truth[truth >= 0], said[said >= 0], truth[(truth == said) & (truth >= 0)])
    true, answered, right = (np.bincount(each, minlength=classes) for each in of)
    return true, answered, right


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Return part / whole, NaN where the whole is 0."""
    return np.asarray(part / np.where(whole > 0, whole, np.nan))


def _mean_of_known(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(shares)
    return _ratio(np.where(known, shares, 0.0).sum(axis=-1), known.sum(axis=-1))


def _value(found: NDArray[np.float64], what: str) -> float:
    if not np.isfinite(found):
        raise ValueError(f"{what} has no value")
    return float(found)


def rmse(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Return the root of the mean squared error, in the label's unit."""
    truth, said = _pair(labels, predictions, float, float)
    return float(np.sqrt(np.mean((truth - said) ** 2)))


def mae(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Return the mean absolute error, in the label's unit."""
    truth, said = _pair(labels, predictions, float, float)
    return float(np.mean(np.abs(truth - said)))


def r2(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Return the share of the label's variance that the predictions explain: at best 1, and 0 for the mean.

    Raises:
        ValueError: the label is constant: there is no variance to explain.
    """
    truth, said = _pair(labels, predictions, float, float)
    total = float(np.sum((truth - truth.mean()) ** 2))
    if total == 0.0:
        raise ValueError("R² of a constant label has no value")
    return 1.0 - float(np.sum((truth - said) ** 2)) / total


def _pair(first: ArrayLike, second: ArrayLike, one: type, two: type) -> tuple[NDArray[Any], NDArray[Any]]:
    a: NDArray[Any] = np.asarray(first).astype(one)
    b: NDArray[Any] = np.asarray(second).astype(two)
    _check(a, b)
    return a, b


def _check(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} are not one and the same (n,)")
    if not len(a):
        raise ValueError("there is nothing to measure")
    if b.dtype.kind == "f" and not np.isfinite(b).all():
        raise ValueError("a score or prediction is not finite")
