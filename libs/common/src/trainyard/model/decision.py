"""From probabilities to the class that is answered: the one rule, for whoever serves, judges or reports.

Binary: the second class is answered from ``threshold`` of its probability on. Of more classes the likeliest is, of
equal ones the first.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy.typing as npt


def decided_for(task: str, probabilities: Sequence[float], threshold: float) -> int:
    """Return the index of the class that a model answers one row with.

    Args:
        task: binary or multiclass.
        probabilities: of each class.
        threshold: of the second of two classes.
    """
    return int(probabilities[1] >= threshold) if task == "binary" else probabilities.index(max(probabilities))


def decided(task: str, probabilities: npt.NDArray[Any], threshold: float) -> npt.NDArray[Any]:
    """Return the same for each row of probabilities (rows, classes), shape (rows,)."""
    answered: npt.NDArray[Any]
    answered = (probabilities[:, 1] >= threshold).astype("intp") if task == "binary" else probabilities.argmax(axis=1)
    return answered
