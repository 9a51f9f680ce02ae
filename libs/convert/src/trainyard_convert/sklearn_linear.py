"""scikit-learn's linear models and its networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import Pipeline
from trainyard_convert.columns import matrix_of
from trainyard_convert.errors import ConversionError
from trainyard_convert.parts import DECISION, OUTPUTS, Part, linear, network, task_of
from trainyard_convert.sklearn_columns import bound
from trainyard_convert.sklearn_encoders import called

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard_convert.columns import Binding
    from trainyard_convert.sklearn_columns import Columns

_ACTIVATIONS = {"identity": "identity", "relu": "relu", "tanh": "tanh", "logistic": "tanh"}


def classifier(model: Any, columns: Columns, binding: Binding) -> Part:
    """Convert a linear classifier."""
    classes = list(model.classes_)
    task, name = task_of(classes), called(model)
    kind = type(model).__name__
    gives = kind.startswith("LogisticRegression") or (kind == "SGDClassifier" and model.loss == "log_loss")
    if task == "multiclass":
        if not kind.startswith("LogisticRegression"):
            raise ConversionError(
                f"{name} of {len(classes)} classes", "its classes are told apart one by one, not with softmax",
                "use LogisticRegression",
            )  # fmt: skip
        if getattr(model, "multi_class", None) == "ovr" or model.solver == "liblinear":
            raise ConversionError(
                f"{name} one-vs-rest", "its probabilities are not a softmax", "use another solver than liblinear"
            )
    matrix = matrix_of(bound(columns, binding), binding, missing_allowed=False, name=name)
    # Of the older releases: two classes in one softmax, whose score is twice the decision.
    gain = 2.0 if task == "binary" and getattr(model, "multi_class", None) == "multinomial" else 1.0
    weights = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T * gain
    bias = np.broadcast_to(model.intercept_, weights.shape[1:]) * gain
    output = OUTPUTS[task] if gives else DECISION
    estimator = linear(matrix, weights, bias, output)
    return Part(task, classes, [Pipeline(matrix.steps, estimator)], scored=gain == 1.0, decides=not gives)


def regressor(output: str) -> Callable[[Any, Columns, Binding], Part]:
    """Return what converts linear regressions with this output: identity, or exp for those with a log link."""

    def convert(model: Any, columns: Columns, binding: Binding) -> Part:
        name = called(model)
        weights = np.asarray(model.coef_, dtype=np.float64)
        if weights.ndim > 1 and len(weights) > 1:
            raise ConversionError(f"{name} with {len(weights)} labels", "a model answers for one", "fit one for each")
        matrix = matrix_of(bound(columns, binding), binding, missing_allowed=False, name=name)
        bias = np.asarray(model.intercept_, dtype=np.float64).reshape(-1)
        estimator = linear(matrix, weights.reshape(-1, 1), bias, output)
        return Part("regression", (), [Pipeline(matrix.steps, estimator)])

    return convert


def perceptron(model: Any, columns: Columns, binding: Binding) -> Part:
    """Convert MLPClassifier or MLPRegressor."""
    classes = list(model.classes_) if hasattr(model, "classes_") else None
    task, name = task_of(classes), called(model)
    output = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax"}.get(model.out_activation_)
    if output is None or model.n_outputs_ != (len(classes or ()) if task == "multiclass" else 1):
        raise ConversionError(f"{name} with the output {model.out_activation_}", "the format has no such output")
    matrix = matrix_of(bound(columns, binding), binding, missing_allowed=False, name=name)
    activations = [_ACTIVATIONS[model.activation]] * (len(model.coefs_) - 1) + ["identity"]
    weights = [np.asarray(w, dtype=np.float64) for w in model.coefs_]
    bias = [np.asarray(b, dtype=np.float64) for b in model.intercepts_]
    if model.activation == "logistic":  # sigmoid(z) = (1 + tanh(z / 2)) / 2
        for i in range(len(weights) - 1):
            weights[i], bias[i] = weights[i] / 2, bias[i] / 2
            bias[i + 1] = bias[i + 1] + weights[i + 1].sum(axis=0) / 2
            weights[i + 1] = weights[i + 1] / 2
    estimator = network(matrix, list(zip(weights, bias, activations, strict=True)), output)
    return Part(task, classes or (), [Pipeline(matrix.steps, estimator)])
