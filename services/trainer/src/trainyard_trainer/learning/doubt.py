"""Whether what was chosen is better than the prior, or only seems to be: it is the best of many, by chance too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from trainyard_trainer.learning.choosing import advantage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.trying import Entry, Fit

#: Standard errors of the mean gain that a choice needs. On noise the best of twenty has about 1.3.
_LEAST = 2.0
#: A gain of so many is no accident of early stopping either, so nothing is measured again.
_CLEAR = 6.0


def doubtful(
    task: str,
    labels: npt.NDArray[np.float64],
    prior: FloatArray,
    members: Sequence[tuple[Entry, Fit, float]],
    again: Callable[[Entry], Fit],
) -> bool:
    """Tell whether the members, weighted, may be no better than the prior on other rows.

    Each fold's length was found on the very rows that it is measured on, which flatters where there is little to learn.
    So where the gain is small the member of the largest weight is measured again, at one length for all folds.

    Args:
        task: binary, multiclass or regression.
        labels: shape (rows,), of all folds' validation rows in turn.
        prior: the prior's answers to them.
        members: what was chosen, each with its weight, the largest first.
        again: fits a trial on the folds once more, at the lengths that its parameters say.
    """
    blended = np.asarray(sum(weight * fit.joined for _, fit, weight in members))
    found = advantage(task, labels, prior, blended)
    if not _LEAST <= found < _CLEAR:
        return found < _LEAST
    most, *_ = members[0]
    return advantage(task, labels, prior, again(_levelled(most)).joined) < _LEAST


def _levelled(entry: Entry) -> Entry:
    """Return the entry with one length for all folds, the median that was found."""
    params = {name: value for name, value in entry.trial.params.items() if name != "lengths"}
    return replace(entry, trial=replace(entry.trial, params=params))
