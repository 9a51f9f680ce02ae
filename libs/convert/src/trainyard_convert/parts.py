"""Estimators on the way: what a fitted scikit-learn estimator is in the format, before it becomes a whole model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import Dense, Linear, NeuralNetwork, Pipeline, TreeEnsemble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.model.dto import Calibration
    from trainyard_convert.columns import Matrix

OUTPUTS = {"regression": "identity", "binary": "sigmoid", "multiclass": "softmax"}
DECISION = "decision"  # the output of a classifier that gives scores and no probabilities


@dataclass(frozen=True, eq=False)
class Part:
    """Pipelines and their weights, which sum to 1.

    Attributes:
        scored: the library's ``decision_function`` is the score of the one pipeline, so what is learnt on it can be
            taken into the estimator; else it is its probability.
        decides: the estimator's output is :data:`DECISION`: it has no probabilities yet.
        single: the library's arithmetic is in float32.
    """

    task: str
    classes: Sequence[Any]
    pipelines: Sequence[Pipeline]
    weights: Sequence[float] = (1.0,)
    calibration: Calibration | None = None
    threshold: float = 0.5
    scored: bool = False
    decides: bool = False
    single: bool = False


def task_of(classes: Sequence[Any] | None) -> str:
    """Return the task of an estimator with these classes; None is a regression."""
    if classes is None:
        return "regression"
    return "binary" if len(classes) == 2 else "multiclass"


def linear(matrix: Matrix, weights: Any, bias: Any, output: str) -> Linear:
    """Return ``bias + x @ weights`` on the library's columns x, taking in what the matrix leaves over."""
    weights, bias = _taken_in(matrix, weights, bias)
    return Linear(weights, bias, output)


def network(matrix: Matrix, layers: Sequence[tuple[Any, Any, str]], output: str) -> NeuralNetwork:
    """Return layers of weights, bias and activation, the first on the library's columns."""
    weights, bias, activation = layers[0]
    first = (*_taken_in(matrix, weights, bias), activation)
    return NeuralNetwork(tuple(Dense(*layer) for layer in (first, *layers[1:])), output)


def _taken_in(matrix: Matrix, weights: Any, bias: Any) -> tuple[Any, Any]:
    weights = np.asarray(weights, dtype=np.float64) / matrix.scale[:, None]
    return weights, np.asarray(bias, dtype=np.float64) - matrix.center @ weights


def rescaled(pipeline: Pipeline, slope: float, intercept: float, output: str) -> Pipeline:
    """Return the pipeline with ``slope * score + intercept`` for each score."""
    estimator = pipeline.estimator
    if isinstance(estimator, Linear):
        weights, bias = np.asarray(estimator.weights), np.asarray(estimator.bias)
        made: Any = Linear(weights * slope, bias * slope + intercept, output)
    elif isinstance(estimator, TreeEnsemble):
        value, base = np.asarray(estimator.value), np.asarray(estimator.base)
        made = replace(estimator, value=value * slope + 0.0, base=base * slope + intercept, output=output)
    else:
        last = estimator.layers[-1]
        weights, bias = np.asarray(last.weights), np.asarray(last.bias)
        last = Dense(weights * slope, bias * slope + intercept, last.activation)
        made = NeuralNetwork((*estimator.layers[:-1], last), output)
    return Pipeline(pipeline.steps, made)


def on_probability(pipeline: Pipeline) -> Pipeline | None:
    """Return the binary pipeline with its probability as its score; None where no estimator of the format is that."""
    estimator = pipeline.estimator
    if isinstance(estimator, TreeEnsemble) and estimator.output == "identity":
        return pipeline
    if isinstance(estimator, Linear) and estimator.output == "sigmoid":
        layers = [Dense(estimator.weights, estimator.bias, "identity")]
    elif isinstance(estimator, NeuralNetwork) and estimator.output == "sigmoid":
        layers = list(estimator.layers)
    else:
        return None
    # sigmoid(z) = (1 + tanh(z / 2)) / 2
    weights, bias = np.asarray(layers[-1].weights), np.asarray(layers[-1].bias)
    layers[-1] = Dense(weights / 2, bias / 2, "tanh")
    return Pipeline(
        pipeline.steps, NeuralNetwork((*layers, Dense(np.array([[0.5]]), np.array([0.5]), "identity")), "identity")
    )
