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

from trainyard.schema import Schema
from trainyard_trainer.learning import trees
from trainyard_trainer.learning.encoders import Encoded, Encoder
from trainyard_trainer.learning.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import lightgbm as lgb
    import numpy.typing as npt

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.fitting import Learning

    Answer = Callable[[npt.NDArray[Any], npt.NDArray[Any]], FloatArray]

#: Rows looked at: fewer of a wide table.
_MOST_ROWS, _MOST_CELLS, _FEWEST_ROWS = 10_000, 1_000_000, 1_000
_MOST_CLASSES = 6  # whose residuals are looked at: the commonest
_QUICK = {"learning_rate": 0.1, "max_bin": 63}
_TREES, _STUMPS = {"num_leaves": 15, **_QUICK}, {"num_leaves": 2, **_QUICK}
_MOST_LEAVES, _FEWEST_ROUNDS = 300, 3  # in all trees
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

    def ranked(self, budget: Budget) -> list[str]:
        """Return the columns that small boosted trees of all rows gain anything by, the most first."""
        encoded = Encoder(self.table, self._labels, self._learning.n_classes, self._learning.seed).for_trees()
        gained = self._boosted(_TREES, encoded, self._labels, budget).feature_importance("gain")
        begins = np.cumsum([0, *(step.width for step in encoded.steps)])[:-1]
        gains = np.add.reduceat(gained, begins)
        names = [step.columns[0] for step in encoded.steps]
        return [names[at] for at in np.argsort(-gains, kind="stable").tolist() if gains[at] > 0.0]

    def after_curves(self, columns: Sequence[str], budget: Budget) -> FloatArray:
        """Return the residuals (rows, K) of a sum of curves, one of each column: boosted trees of two leaves."""
        encoded = self._encoder(columns).for_trees()

        def answer(fit: npt.NDArray[Any], asked: npt.NDArray[Any]) -> FloatArray:
            part = Encoded(encoded.steps, encoded.x[fit])
            return np.asarray(self._boosted(_STUMPS, part, self._labels[fit], budget).predict(encoded.x[asked]))

        return self._left_over(answer)

    def _boosted(
        self, shape: Mapping[str, Any], encoded: Encoded, labels: npt.NDArray[Any], budget: Budget
    ) -> lgb.Booster:
        learning, outputs = self._learning, self._learning.n_outputs
        settings = trees.parameters(learning.task, outputs, len(labels), learning.seed, shape)
        rounds = max(_FEWEST_ROUNDS, _MOST_LEAVES // shape["num_leaves"] // outputs)
        return trees.boost(settings, encoded, labels, budget, rounds=rounds, progress=lambda _done, _total: None)[0]

    def after_linear(self, columns: Sequence[str]) -> FloatArray:
        """Return the residuals (rows, K) of a ridge or logistic regression on these columns."""
        x = self._encoder(columns).for_linear().x

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

    def _encoder(self, columns: Sequence[str]) -> Encoder:
        schema = Schema(column for column in self.table.schema.columns if column.name in columns)
        table = Table(schema, {name: self.table.columns[name] for name in columns})
        return Encoder(table, self._labels, self._learning.n_classes, self._learning.seed)

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
