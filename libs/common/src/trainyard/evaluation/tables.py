"""What a model decided against what was true: the confusion matrix, or the residuals of a regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.metrics.plain import number

if TYPE_CHECKING:
    import numpy.typing as npt

    from trainyard.evaluation.sample import Sample

MOST_CLASSES = 20
MOST_POINTS = 101
OTHERS, UNKNOWN = "all others", "not known to the model"
_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


def confusion(sample: Sample) -> dict[str, Any] | None:
    """Return how often each class was answered with each, None for regression.

    ``truths`` name the lines and ``answers`` the columns of ``counts``: the :data:`MOST_CLASSES` commonest classes, in
    the model's order, the rest together as one. Rows of a class that the model does not know have a line of their own.
    Binary: decided at ``threshold``, with ``precision``, ``recall`` and ``f1`` of the positive class (None: it was
    never answered, or never true).
    """
    if sample.task == "regression":
        return None
    size = len(sample.classes)
    shown = _shown(sample)
    place = np.full(size + 1, len(shown), dtype=np.int64)  # all others
    place[shown] = np.arange(len(shown))
    unknown = len(shown) + 1
    place[-1] = unknown  # labels of -1 look here
    lines = len(shown) + 2
    cells = place[sample.labels] * lines + place[sample.decided]
    counts = np.bincount(cells, minlength=lines * lines).reshape(lines, lines)
    names = [sample.class_called(index) for index in shown]
    others = len(shown) < size
    kept = [*range(len(shown)), *([len(shown)] if others else [])]
    truths = [*kept, *([unknown] if counts[unknown].any() else [])]
    called = [*names, OTHERS, UNKNOWN]
    found: dict[str, Any] = {
        "truths": [called[line] for line in truths],
        "answers": [called[column] for column in kept],
        "counts": counts[np.ix_(truths, kept)].tolist(),
        "threshold": sample.threshold if sample.task == "binary" else None,
    }
    return found | (_of_positives(counts) if sample.task == "binary" else {})


def _shown(sample: Sample) -> npt.NDArray[np.int64]:
    counts = np.bincount(sample.labels[sample.labels >= 0], minlength=len(sample.classes))
    return np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])


def _of_positives(counts: npt.NDArray[np.int64]) -> dict[str, float | None]:
    hits, answered, true = int(counts[1, 1]), int(counts[:2, 1].sum()), int(counts[1].sum())
    return {
        "precision": number(hits / answered) if answered else None,
        "recall": number(hits / true) if true else None,
        "f1": number(2 * hits / (answered + true)) if answered + true else None,
    }


def residuals(sample: Sample) -> dict[str, Any] | None:
    """Return the spread of truth minus answer and some points (truth, answer); None for classifiers.

    ``quantiles`` are pairs (share of the rows, residual). ``points`` are :data:`MOST_POINTS` rows at most, spread
    evenly over the order of the truth.
    """
    if sample.task != "regression" or not sample.rows:
        return None
    apart = sample.labels - sample.answers
    found = np.quantile(apart, _QUANTILES).tolist()
    order = np.argsort(sample.labels, kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, MOST_POINTS).astype(np.int64))]
    points = zip(sample.labels[rows].tolist(), sample.answers[rows].tolist(), strict=True)
    return {
        "quantiles": [[share, number(value)] for share, value in zip(_QUANTILES, found, strict=True)],
        "points": [[number(truth), number(answer)] for truth, answer in points],
    }
