"""Predictions from a model: ``Predictor`` for rows (serving) and for whole columns (the trainer's evaluation).

Both ways run the same code on the same clean values and give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.errors import ArtifactError, Problem, ServiceError
from trainyard.model.dto import (
    Blend,
    ClassLabel,
    Estimator,
    FloatArray,
    Golden,
    Linear,
    Model,
    NeuralNetwork,
    Pipeline,
)
from trainyard.model.elementary import exp, log
from trainyard.model.estimators import linear_scores, network_scores, normalised, sigmoid, softmax
from trainyard.model.features import Column, matrix
from trainyard.model.trees import TreeKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GOLDEN_TOLERANCE = 1e-9
_CHUNK_CELLS = 1 << 21  # matrix cells at once: bounds the memory whatever the number of rows
_TINY = 1e-15


@dataclass(frozen=True)
class Prediction:
    """The answer for one row: a class or a number, and for classifiers the probability of each class by name."""

    prediction: ClassLabel | float
    probabilities: dict[str, float] | None


class Predictor:
    """A model made ready to answer; building it costs once, it holds no state and may be shared by threads."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._scorers = [(pipeline, _scorer(pipeline.estimator)) for pipeline in model.members]
        self._weights = model.pipeline.weights.tolist() if isinstance(model.pipeline, Blend) else [1.0]
        self._chunk = max(64, _CHUNK_CELLS // max(p.width for p in model.members))
        self._class_names = [class_name(c) for c in model.classes]
        self._features = model.schema.features
        self._required = frozenset(c.name for c in self._features)

    def predict(self, rows: Sequence[object]) -> list[Prediction]:
        """Answer JSON rows ``{column: value}``, bound by name; every feature must be there, null meaning missing.

        Raises:
            ServiceError: ``invalid_rows``, the details listing every problem of every row.
        """
        clean, problems = self.model.schema.check_rows(rows, columns=self._features, require=self._required)
        if problems:
            raise ServiceError("invalid_rows", f"the rows have {len(problems)} problem(s)", problems)
        good = [row for row in clean if row is not None]
        columns = {name: [row[name] for row in good] for name in self._required}
        return self.predictions(self._outputs(columns, len(good)))

    def predict_columns(self, columns: Mapping[str, Column]) -> FloatArray:
        """Answer clean columns: lists of values as ``check_value`` gives them, or numpy arrays (features.py).

        Returns:
            Classifiers: probabilities (rows, classes) in the order of ``model.classes``; regression: values (rows,).

        Raises:
            KeyError: a feature that the model reads is not there.
            ServiceError: ``invalid_rows`` when a value is so large that the answer is not a finite number.
        """
        lengths = {len(column) for column in columns.values()}
        if len(lengths) != 1:
            raise ValueError(f"the columns are of different lengths: {sorted(lengths)}")
        out = self._outputs(columns, lengths.pop())
        return out if self.model.classes else out[:, 0]

    def predictions(self, outputs: FloatArray) -> list[Prediction]:
        """Turn outputs (rows, classes), or (rows,) or (rows, 1) for regression, into answers."""
        model = self.model
        if not model.classes:
            return [Prediction(value, None) for value in outputs.reshape(-1).tolist()]
        if model.task == "binary":
            chosen = (outputs[:, 1] >= model.threshold).astype(np.intp)
        else:
            chosen = outputs.argmax(axis=1)
        names = self._class_names
        return [
            Prediction(model.classes[index], dict(zip(names, row, strict=True)))
            for index, row in zip(chosen.tolist(), outputs.tolist(), strict=True)
        ]

    def self_test(self) -> None:
        """Run the golden rows.

        Raises:
            ArtifactError: ``bad_golden`` when there are none or they do not fit the schema, ``golden_mismatch`` when an
                answer is off by more than 1e-9 (for values beyond 1: relative).
        """
        golden = self.model.golden
        if golden is None:
            raise ArtifactError("bad_golden", "the model has no golden rows")
        got = self._golden_outputs(golden.rows)
        allowed = GOLDEN_TOLERANCE * np.maximum(1.0, np.abs(golden.expected))
        if got.shape != golden.expected.shape or not (np.abs(got - golden.expected) <= allowed).all():
            raise ArtifactError("golden_mismatch", "the model does not answer its golden rows as it did when made")

    def _golden_outputs(self, rows: Sequence[object]) -> FloatArray:
        clean, problems = self.model.schema.check_rows(rows, columns=self._features, require=self._required)
        if problems:
            raise ArtifactError("bad_golden", f"a golden row does not fit the schema: expected {problems[0].expected}")
        good = [row for row in clean if row is not None]
        try:
            return self._outputs({name: [row[name] for row in good] for name in self._required}, len(good))
        except ServiceError as e:
            raise ArtifactError("bad_golden", "a golden row has no finite answer") from e

    def _outputs(self, columns: Mapping[str, Column], n_rows: int) -> FloatArray:
        """Return probabilities (rows, classes) or values (rows, 1)."""
        out = np.empty((n_rows, max(1, len(self.model.classes))))
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for begin in range(0, n_rows, self._chunk):
                end = min(n_rows, begin + self._chunk)
                part = columns if end - begin == n_rows else {k: v[begin:end] for k, v in columns.items()}
                out[begin:end] = self._answer(part, end - begin).T
        bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
        if len(bad):
            problems = [
                Problem(int(i) + 1, None, "values within the model's range", "no finite answer") for i in bad[:1000]
            ]
            raise ServiceError("invalid_rows", f"{len(bad)} row(s) have values that are too large", problems)
        return out

    def _answer(self, columns: Mapping[str, Column], n_rows: int) -> FloatArray:
        """Return probabilities (classes, rows) or values (1, rows)."""
        total = np.zeros((self.model.n_outputs, n_rows))
        for (pipeline, score), weight in zip(self._scorers, self._weights, strict=True):
            output = self._output(score(matrix(pipeline.steps, columns, n_rows)), pipeline)
            total = output if len(self._scorers) == 1 else total + weight * output
        if self.model.task == "regression":
            return total
        given = calibrated(total, self.model.temperature)
        return np.concatenate([1.0 - given, given]) if self.model.task == "binary" else given

    def _output(self, scores: FloatArray, pipeline: Pipeline) -> FloatArray:
        """Turn one member's scores (K, rows) into probabilities or values of the same shape."""
        kind = pipeline.estimator.output
        if kind == "sigmoid":
            return sigmoid(scores)
        if kind == "softmax":
            return softmax(scores)
        if kind == "exp":
            return exp(scores)
        if self.model.task == "regression":
            return scores
        return np.clip(scores, 0.0, 1.0) if self.model.task == "binary" else normalised(scores)


def _scorer(estimator: Estimator) -> Callable[[FloatArray], FloatArray]:
    """Return the function from a matrix (D, rows) to scores (K, rows)."""
    if isinstance(estimator, Linear):
        return lambda x: linear_scores(estimator, x)
    if isinstance(estimator, NeuralNetwork):
        return lambda x: network_scores(estimator, x)
    return TreeKernel(estimator).scores


def calibrated(p: FloatArray, temperature: float | None) -> FloatArray:
    """Divide the logits of p (1, rows) or (classes, rows) by the temperature."""
    if temperature is None:
        return p
    p = np.clip(p, _TINY, 1.0 - _TINY)
    if len(p) == 1:
        return sigmoid((log(p) - log(1.0 - p)) / temperature)
    return softmax(log(p) / temperature)


def class_name(label: ClassLabel) -> str:
    """Return the label as a JSON key: ``true`` and ``false`` for bools, digits for ints."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def self_test(model: Model) -> None:
    """Run the model's golden rows; see :meth:`Predictor.self_test`."""
    Predictor(model).self_test()


def with_golden(model: Model, rows: Sequence[Mapping[str, Any]]) -> Model:
    """Return the model with the features of ``rows`` (1 to 32) and what it answers to them as golden rows.

    Values may be in JSON form or clean (dates and times as Python objects, numpy scalars).

    Raises:
        ArtifactError: ``bad_golden`` when a row does not fit the schema or has no finite answer.
    """
    kept = tuple({c.name: _as_json(row.get(c.name)) for c in model.schema.features} for row in rows)
    return replace(model, golden=Golden(kept, Predictor(model)._golden_outputs(kept)))  # noqa: SLF001


def _as_json(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return value.isoformat() if isinstance(value, date) else value
