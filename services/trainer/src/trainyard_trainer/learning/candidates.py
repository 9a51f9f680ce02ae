"""The families of candidates: each is fitted on a table and becomes a pipeline of the model format."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from trainyard.gate import row_losses
from trainyard.model import Dense, IsMissing, Linear, NeuralNetwork, Pipeline
from trainyard.model.features import matrix
from trainyard_trainer.learning import trees

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.encoders import Encoder
    from trainyard_trainer.learning.table import Table

_OUTPUT = {"binary": "sigmoid", "multiclass": "softmax", "regression": "identity"}
#: Cells above which a linear model learns from the newest rows only: its fit cannot be interrupted.
_MOST_LINEAR_CELLS = 40_000_000
_HIDDEN = (64, 32)
_MOST_EPOCHS = 60
_EPOCH_PATIENCE = 5


@dataclass(frozen=True, eq=False)
class Learning:
    """Rows to learn from: features, labels (class indexes or values), what is to be learnt, and the encoder."""

    task: str
    n_classes: int
    table: Table
    labels: npt.NDArray[Any]
    encoder: Encoder
    seed: int

    @property
    def n_outputs(self) -> int:
        """Scores that an estimator gives."""
        return self.n_classes if self.task == "multiclass" else 1


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted candidate. ``answer`` asks the library itself, on a matrix (rows, D): for the parity check.

    ``length`` is what early stopping found (rounds, epochs), None where there is nothing to find.
    """

    pipeline: Pipeline
    answer: Callable[[FloatArray], FloatArray]
    length: int | None = None


@dataclass(frozen=True)
class Candidate:
    """A family and its parameters; ``fit`` takes what to learn from, and rows to stop early on or the length found."""

    family: str
    params: Mapping[str, Any]
    fit: Callable[..., Fitted] = field(repr=False)


def candidates(families: tuple[str, ...]) -> list[Candidate]:
    """Return what to try, cheapest first; the prior is always tried."""
    known = {
        "linear": [Candidate("linear", {"penalty": "l2", "strength": 1.0}, fit_linear)],
        "trees": [
            Candidate("trees", {"num_leaves": 31}, fit_trees),
            Candidate("trees", {"num_leaves": 7, "lambda_l2": 5.0}, fit_trees),
        ],
        "neural": [Candidate("neural", {"hidden": list(_HIDDEN)}, fit_neural)],
    }
    return [
        Candidate("prior", {}, fit_prior),
        *(c for name in ("linear", "trees", "neural") if name in families for c in known[name]),
    ]


def prior_of(task: str, n_classes: int, labels: npt.NDArray[Any], rows: int) -> FloatArray:
    """Return the answer that knows no feature, for ``rows`` rows: class shares (rows, classes) or the mean (rows,)."""
    if task == "regression":
        return np.full(rows, float(np.mean(labels)))
    return np.tile(_shares(labels, n_classes), (rows, 1))


def _shares(labels: npt.NDArray[Any], n_classes: int) -> FloatArray:
    return np.bincount(labels, minlength=n_classes) / len(labels)


def fit_prior(learning: Learning, _params: Mapping[str, Any], _budget: Budget, **_: Any) -> Fitted:
    """A model that ignores its one column."""
    step = IsMissing(learning.table.schema.features[0].name)
    if learning.task == "regression":
        bias = np.array([float(np.mean(learning.labels))])
    else:
        shares = _shares(learning.labels, learning.n_classes)
        bias = np.log(shares) if learning.task == "multiclass" else np.array([np.log(shares[1]) - np.log(shares[0])])
    estimator = Linear(np.zeros((1, len(bias))), bias, _OUTPUT[learning.task])
    answer = prior_of(learning.task, learning.n_classes, learning.labels, 1)
    return Fitted(Pipeline((step,), estimator), lambda x: np.repeat(answer, len(x), axis=0))


def fit_linear(learning: Learning, params: Mapping[str, Any], _budget: Budget, **_: Any) -> Fitted:
    """Logistic or ridge regression on standardised columns."""
    encoded = learning.encoder.for_linear()
    newest = max(1, _MOST_LINEAR_CELLS // encoded.x.shape[1])
    x, labels = encoded.x[-newest:], learning.labels[-newest:]
    if learning.task == "regression":
        center, scale = float(labels.mean()), float(labels.std()) or 1.0
        ridge = Ridge(alpha=params["strength"]).fit(x, (labels - center) / scale)
        weights, bias = ridge.coef_[:, None] * scale, np.array([ridge.intercept_ * scale + center])
        estimator = Linear(weights, bias, "identity")
        return Fitted(Pipeline(encoded.steps, estimator), lambda m: np.asarray(ridge.predict(m) * scale + center))
    with warnings.catch_warnings():
        # A fit that was cut off is a worse candidate, which the validation rows show; it is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=params["strength"], max_iter=200).fit(x, labels)
    if len(model.classes_) != learning.n_classes:  # the newest rows lack a class
        return fit_prior(learning, {}, _budget)
    weights = model.coef_.T.astype(np.float64)
    estimator = Linear(weights, model.intercept_.astype(np.float64), _OUTPUT[learning.task])
    return Fitted(Pipeline(encoded.steps, estimator), lambda m: np.asarray(model.predict_proba(m)))


def fit_trees(
    learning: Learning,
    params: Mapping[str, Any],
    budget: Budget,
    *,
    validation: tuple[Table, npt.NDArray[Any]] | None = None,
    length: int | None = None,
    progress: Callable[[int, int], None],
) -> Fitted:
    """LightGBM on our own encodings."""
    encoded = learning.encoder.for_trees()
    settings = trees.parameters(learning.task, learning.n_outputs, len(encoded.x), learning.seed, params)
    held = None
    if validation is not None:
        table, labels = validation
        held = np.ascontiguousarray(matrix(encoded.steps, table.columns, table.rows).T), labels
    booster, rounds = trees.boost(
        settings, encoded.x, learning.labels, budget, rounds=length, validation=held, progress=progress
    )
    ensemble = trees.export(booster, rounds, learning.task, learning.n_outputs)

    def answer(x: FloatArray) -> FloatArray:
        given = np.asarray(booster.predict(x, num_iteration=rounds))
        return np.column_stack([1.0 - given, given]) if learning.task == "binary" else given

    return Fitted(Pipeline(encoded.steps, ensemble), answer, rounds)


def fit_neural(
    learning: Learning,
    params: Mapping[str, Any],
    budget: Budget,
    *,
    validation: tuple[Table, npt.NDArray[Any]] | None = None,
    length: int | None = None,
    progress: Callable[[int, int], None],
) -> Fitted:
    """A small multi-layer perceptron, epoch by epoch, the best epoch kept."""
    encoded = learning.encoder.for_linear()
    center, scale = 0.0, 1.0
    labels = learning.labels
    known: dict[str, Any] = {"hidden_layer_sizes": tuple(params["hidden"]), "random_state": learning.seed}
    if learning.task == "regression":
        center, scale = float(labels.mean()), float(labels.std()) or 1.0
        labels, network = (labels - center) / scale, MLPRegressor(**known)
    else:
        network = MLPClassifier(**known)
    first: dict[str, Any] = {} if learning.task == "regression" else {"classes": np.arange(learning.n_classes)}
    best, best_epoch, kept = float("inf"), 0, _layers(learning.task, [], [], center, scale)
    most = length or _MOST_EPOCHS
    for epoch in range(1, most + 1):
        network.partial_fit(encoded.x, labels, **(first if epoch == 1 else {}))
        progress(epoch, most)
        estimator = _layers(learning.task, network.coefs_, network.intercepts_, center, scale)
        loss = -float(epoch) if validation is None else _loss(learning, encoded.steps, estimator, *validation)
        if loss < best:
            best, best_epoch, kept = loss, epoch, estimator
        elif epoch - best_epoch >= _EPOCH_PATIENCE:
            break
        if budget.spent:
            break
    pipeline = Pipeline(encoded.steps, kept)
    return Fitted(pipeline, lambda x: _forward(kept, x, learning.task), best_epoch)


def _layers(task: str, weights: list[Any], biases: list[Any], center: float, scale: float) -> NeuralNetwork:
    """Return the network; a regression's last layer gives the label's own unit."""
    dense = [Dense(w.copy(), b.copy(), "relu") for w, b in zip(weights, biases, strict=True)]
    if dense:
        last = dense[-1]
        dense[-1] = Dense(last.weights * scale, last.bias * scale + center, "identity")
    return NeuralNetwork(tuple(dense), _OUTPUT[task])


def _forward(network: NeuralNetwork, x: FloatArray, task: str) -> FloatArray:
    """Answer with plain matrix products, as scikit-learn does."""
    for layer in network.layers:
        x = x @ layer.weights + layer.bias
        if layer.activation == "relu":
            x = np.maximum(x, 0.0)
    if task == "regression":
        return np.asarray(x[:, 0])
    if task == "binary":
        x = np.column_stack([np.zeros(len(x)), x[:, 0]])
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _loss(learning: Learning, steps: Any, network: NeuralNetwork, table: Table, labels: npt.NDArray[Any]) -> float:
    x = matrix(steps, table.columns, table.rows).T
    return float(row_losses(learning.task, labels, _forward(network, x, learning.task)).mean())
