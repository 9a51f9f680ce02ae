"""Boosted trees on our own encodings, as a candidate (:mod:`trainyard_trainer.learning.trees` has LightGBM's side)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import Pipeline
from trainyard.model.features import matrix
from trainyard_trainer.learning import trees
from trainyard_trainer.learning.fitting import Fitted, fit_prior
from trainyard_trainer.learning.pairs import TREES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.fitting import Learning
    from trainyard_trainer.learning.table import Table

#: Parameters that are not LightGBM's.
_OURS = ("categories", "pairs")


def fit_trees(
    learning: Learning,
    params: Mapping[str, Any],
    budget: Budget,
    *,
    validation: tuple[Table, npt.NDArray[Any]] | None = None,
    length: int | None = None,
    progress: Callable[[int, int], None],
) -> Fitted:
    """Fit one; its length is a number of rounds.

    ``params`` are LightGBM's (:func:`trees.parameters`), and ``categories``: ``means``, or ``sets`` for splits by sets
    of levels, which LightGBM finds by the gradients of the moment; ``pairs``: :meth:`Learning.pairs`.

    With a logarithmic link the labels are learnt as multiples of their mean, so that what is not of a label's unit, as
    the L2 of leaves, means the same for every unit.
    """
    shape = {name: value for name, value in params.items() if name not in _OURS}
    pairs = learning.pairs(params, TREES, budget)
    encoded = learning.for_trees(coded=params.get("categories") == "sets", pairs=pairs)
    settings = trees.parameters(learning.task, learning.n_outputs, len(encoded.x), learning.seed, shape)
    objective = settings["objective"]
    unit, wanted = 1.0, learning.labels
    if objective in trees.LOG_LINK:
        unit = float(wanted.mean())
        if unit == 0.0:
            return fit_prior(learning, {}, budget)
        wanted = wanted / unit
    held = None
    if validation is not None:
        table, labels = validation
        held = np.ascontiguousarray(matrix(encoded.steps, table.columns, table.rows).T), labels / unit
    booster, rounds = trees.boost(settings, encoded, wanted, budget, rounds=length, validation=held, progress=progress)
    ensemble = trees.export(booster, rounds, objective, np.full(learning.n_outputs, np.log(unit)))

    def answer(x: FloatArray) -> FloatArray:
        given = np.asarray(booster.predict(x, num_iteration=rounds)) * unit
        return np.column_stack([1.0 - given, given]) if learning.task == "binary" else given

    return Fitted(Pipeline(encoded.steps, ensemble), answer, rounds, pairs)
