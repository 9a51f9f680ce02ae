"""Answers to whole columns with numpy: matrices in chunks, one after the other, whatever the number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainyard.model.dto import Blend, Linear, NeuralNetwork
from trainyard.model.estimators import calibrated, linear_scores, network_scores, to_output
from trainyard.model.features import matrix
from trainyard.model.trees import TreeKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.model.dto import Estimator, FloatArray, Model
    from trainyard.model.features import Column

_CHUNK_CELLS = 1 << 21  # matrix cells at once: bounds the memory whatever the number of rows


class Batches:
    """A model that answers columns; making one costs little, threads may share it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        #: for each member the function from a matrix (D, rows) to scores (K, rows)
        self._kernels = [_kernel(pipeline.estimator) for pipeline in model.members]
        self.scorers = [kernel.scores for kernel in self._kernels]
        self._weights = model.pipeline.weights.tolist() if isinstance(model.pipeline, Blend) else [1.0]
        self._chunk = max(64, _CHUNK_CELLS // max(p.width for p in model.members))

    def outputs(self, columns: Mapping[str, Column], n_rows: int) -> FloatArray:
        """Return probabilities (rows, classes) or values (rows, 1), some of them perhaps not finite."""
        out = np.empty((n_rows, max(1, len(self._model.classes))))
        with np.errstate(all="ignore"):  # whoever asks looks whether answers are finite
            for begin in range(0, n_rows, self._chunk):
                end = min(n_rows, begin + self._chunk)
                part = columns if end - begin == n_rows else {k: v[begin:end] for k, v in columns.items()}
                out[begin:end] = self._answer(part, end - begin).T
        return out

    def scorers_of_one(self) -> list[Callable[[list[float]], list[float]] | None]:
        """Return for each member the function from one row of its matrix to scores; None where Python is as fast."""
        return [
            None if isinstance(pipeline.estimator, Linear) else kernel.scores_of_one
            for pipeline, kernel in zip(self._model.members, self._kernels, strict=True)
        ]

    def _answer(self, columns: Mapping[str, Column], n_rows: int) -> FloatArray:
        """Return probabilities (classes, rows) or values (1, rows)."""
        model = self._model
        total = np.zeros((model.n_outputs, n_rows))
        for pipeline, scorer, weight in zip(model.members, self.scorers, self._weights, strict=True):
            scores = scorer(matrix(pipeline.steps, columns, n_rows))
            output = to_output(pipeline.estimator.output, model.task, scores)
            total = output if len(self.scorers) == 1 else total + weight * output
        if model.task == "regression":
            return total
        given = calibrated(total, model.calibration)
        return np.concatenate([1.0 - given, given]) if model.task == "binary" else given


class _Kernel:
    """A function from a matrix (D, rows) to scores (K, rows), for one row as well."""

    def __init__(self, scores: Callable[[FloatArray], FloatArray]) -> None:
        self.scores = scores

    def scores_of_one(self, row: list[float]) -> list[float]:
        """Return the scores (K,) of one row (D,) of the matrix."""
        with np.errstate(all="ignore"):  # as above
            scores: list[float] = self.scores(np.array(row)[:, None])[:, 0].tolist()
        return scores


def _kernel(estimator: Estimator) -> _Kernel | TreeKernel:
    if isinstance(estimator, Linear):
        return _Kernel(lambda x: linear_scores(estimator, x))
    if isinstance(estimator, NeuralNetwork):
        return _Kernel(lambda x: network_scores(estimator, x))
    return TreeKernel(estimator)
