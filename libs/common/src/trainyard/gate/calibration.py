"""How far a model's answers are from what came true, on average over rows that it answers alike. Pure numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

_BIN_ROWS, _MOST_BINS = 100, 15


def calibration_error(task: str, labels: npt.NDArray[Any], answers: FloatArray) -> tuple[float, float] | None:
    """Return the expected calibration error, and the standard error that chance alone gives it; None without a value.

    Rows are put into up to 15 bins of equal size by what the model answers (a bin for every 100 rows); the error is the
    mean over rows of the distance between the bin's mean answer and mean truth. For two classes the answer is the
    probability of the second; for more that of the likeliest, and the truth whether it came true (Guo et al. 2017). For
    values the distance is in standard deviations of the true values; a constant label has no value.

    Args:
        task: binary, multiclass or regression.
        labels: shape (rows,): class indexes, -1 for one that the model does not know; or values.
        answers: probabilities (rows, classes), or values (rows,).
    """
    if not len(labels):
        return None
    if task == "regression":
        said, truth, scale = answers, labels.astype(float), float(np.std(labels))
    elif task == "binary":
        said, truth, scale = answers[:, 1], (labels == 1).astype(float), 1.0
    else:
        said, truth, scale = answers.max(axis=1), (answers.argmax(axis=1) == labels).astype(float), 1.0
    if scale == 0.0:
        return None
    error = noise = 0.0
    bins = int(np.clip(len(said) // _BIN_ROWS, 1, _MOST_BINS))
    for rows in np.array_split(np.argsort(said, kind="stable"), bins):
        missed = truth[rows] - said[rows]
        variance = float(np.var(missed)) if task == "regression" else float(np.mean(said[rows] * (1.0 - said[rows])))
        error += abs(float(missed.mean())) * len(rows)
        noise += np.sqrt(max(variance, 0.0) / len(rows)) * len(rows)
    return error / scale / len(said), float(noise) / scale / len(said)
