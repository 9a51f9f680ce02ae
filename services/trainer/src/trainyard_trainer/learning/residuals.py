"""What quick models of some rows leave over: the ground that derived columns are searched on.

The rows are dealt into two halves, and each is answered by a model of the other one: what a residual shows the model
has not seen.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from trainyard_trainer.learning import trees
from trainyard_trainer.learning.encoders import Encoded, Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import lightgbm as lgb
    import numpy.typing as npt

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.fitting import Learning

    Answer = Callable[[npt.NDArray[Any], npt.NDArray[Any]], FloatArray]

#: Rows looked at: fewer of a wide table.
_MOST_ROWS, _MOST_CELLS, _FEWEST_ROWS = 10_000, 1_000_000, 1_000
_MOST_CLASSES = 6  # whose residuals are looked at: the commonest
_TREES, _STUMPS = {"num_leaves": 15, "learning_rate": 0.1}, {"num_leaves": 2, "learning_rate": 0.1}
_MOST_LEAVES, _FEWEST_ROUNDS = 300, 5  # in all trees of an output
_SOLVER_STEPS = 50
_OUTER_SHARE = 0.005  # of the labels of a regression, on each side: they count as the first of the others


class Sample:
    """Some of the rows to learn from: ``table``, and of each row which half (0 or 1) it is of."""

    def __init__(self, learning: Learning) -> None:
        """Take up to 10,000 rows, the same for the same rows and seed."""
        most = max(_FEWEST_ROWS, min(_MOST_ROWS, _MOST_CELLS // len(learning.table.columns)))
        rows = np.random.default_rng(learning.seed).permutation(learning.table.rows)[:most]
        labels = learning.labels[rows]
        if learning.task == "regression":
            labels = np.clip(labels, *np.quantile(labels, (_OUTER_SHARE, 1.0 - _OUTER_SHARE)))
        self._learning = learning
        self._labels = labels
        self.table = learning.table.take(rows)
        self.half = np.arange(len(rows)) % 2
        self._encoder = Encoder(self.table, labels, learning.n_classes, learning.seed)
        self._encoded = self._encoder.for_trees()

    def gains(self, budget: Budget) -> dict[str, float]:
        """Return what small boosted trees of all rows have gained by the columns that they see as one number."""
        encoded = self._encoded
        booster = self._boosted(_TREES, encoded, self._labels, budget)
        gained = booster.feature_importance("gain")
        begins = np.cumsum([0, *(step.width for step in encoded.steps)]).tolist()
        singles = [(step.columns[0], at) for step, at in zip(encoded.steps, begins, strict=False) if step.width == 1]
        return {name: float(gained[at]) for name, at in singles}

    def after_curves(self, budget: Budget) -> FloatArray:
        """Return the residuals (rows, K) of a sum of curves, one of each column: boosted trees of two leaves."""

        def answer(fit: npt.NDArray[Any], asked: npt.NDArray[Any]) -> FloatArray:
            part = Encoded(self._encoded.steps, self._encoded.x[fit])
            return np.asarray(self._boosted(_STUMPS, part, self._labels[fit], budget).predict(self._encoded.x[asked]))

        return self._left_over(answer)

    def _boosted(
        self, shape: Mapping[str, Any], encoded: Encoded, labels: npt.NDArray[Any], budget: Budget
    ) -> lgb.Booster:
        learning, outputs = self._learning, self._learning.n_outputs
        settings = trees.parameters(learning.task, outputs, len(labels), learning.seed, shape)
        rounds = max(_FEWEST_ROUNDS, _MOST_LEAVES // shape["num_leaves"] // outputs)
        return trees.boost(settings, encoded, labels, budget, rounds=rounds, progress=lambda _done, _total: None)[0]

    def after_linear(self) -> FloatArray:
        """Return the residuals (rows, K) of a ridge or logistic regression."""
        x = self._encoder.for_linear().x

        def answer(fit: npt.NDArray[Any], asked: npt.NDArray[Any]) -> FloatArray:
            labels = self._labels[fit]
            if self._learning.task == "regression":
                return np.asarray(Ridge(alpha=1.0).fit(x[fit], labels).predict(x[asked]))
            out, present = np.zeros((len(asked), self._learning.n_classes)), np.unique(labels)
            if len(present) == 1:
                out[:, present] = 1.0
                return out
            model: Any = LogisticRegression(max_iter=_SOLVER_STEPS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # it is to be quick, not to be right
                model.fit(x[fit], labels)
            out[:, model.classes_] = model.predict_proba(x[asked])
            return out

        return self._left_over(answer)

    def _left_over(self, answer: Answer) -> FloatArray:
        """Return the labels less what models of the other half answer, for each class that is looked at."""
        first, second = np.flatnonzero(self.half == 0), np.flatnonzero(self.half == 1)
        for_first, for_second = answer(second, first), answer(first, second)
        answers = np.empty((len(self.half), *for_first.shape[1:]))
        answers[first], answers[second] = for_first, for_second
        if self._learning.task == "regression":
            return np.asarray((self._labels - answers)[:, None])
        if self._learning.task == "binary":
            return np.asarray((self._labels == 1) - (answers if answers.ndim == 1 else answers[:, 1]))[:, None]
        common = np.argsort(-np.bincount(self._labels, minlength=answers.shape[1]), kind="stable")[:_MOST_CLASSES]
        return np.asarray((self._labels[:, None] == common) - answers[:, common])
