"""Networks: scikit-learn's multi-layer perceptron, trained by Adam in short passes, the best pass kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.neural_network import MLPClassifier, MLPRegressor

from trainyard.metrics.measures import row_losses
from trainyard.model import Dense, NeuralNetwork, Pipeline
from trainyard.model.features import matrix
from trainyard_trainer.learning.encoders import STANDARD
from trainyard_trainer.learning.fitting import OUTPUT, Fitted
from trainyard_trainer.learning.pairs import LINEAR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.fitting import Learning
    from trainyard_trainer.learning.table import Table

_MOST_EPOCHS = 200
#: Passes without a better one after which training stops, and rows in a pass: the budget is looked at between passes.
_PATIENCE = 10
_PASS_ROWS = 10_000
#: Rows in a step of Adam. Small tables make few steps in a pass, and so find their length finely.
_BATCH, _LARGE_BATCH = 200, 500


def fit_neural(
    learning: Learning,
    params: Mapping[str, Any],
    budget: Budget,
    *,
    validation: tuple[Table, npt.NDArray[Any]] | None = None,
    length: int | None = None,
    progress: Callable[[int, int], None],
) -> Fitted:
    """Fit one; its length is a number of passes.

    ``params``: ``hidden`` (units of each hidden layer), and optionally ``activation`` (relu, tanh), ``alpha`` (L2) and
    ``learning_rate``, ``scaling`` and ``pairs`` as of linear models.
    """
    pairs = learning.pairs(params, LINEAR, budget)
    encoded = learning.for_linear(scaling=params.get("scaling", STANDARD), pairs=pairs)
    activation = params.get("activation", "relu")
    center, scale = 0.0, 1.0
    labels = learning.labels
    passes = max(1, len(labels) // _PASS_ROWS)
    known: dict[str, Any] = {
        "hidden_layer_sizes": tuple(params["hidden"]),
        "activation": activation,
        "alpha": params.get("alpha", 1e-4),
        "learning_rate_init": params.get("learning_rate", 1e-3),
        "batch_size": min(len(labels), _BATCH if passes == 1 else _LARGE_BATCH),
        "random_state": learning.seed,
    }
    if learning.task == "regression":
        center, scale = float(labels.mean()), float(labels.std()) or 1.0
        labels, network = (labels - center) / scale, MLPRegressor(**known)
    else:
        network = MLPClassifier(**known)
    first: dict[str, Any] = {} if learning.task == "regression" else {"classes": np.arange(learning.n_classes)}
    held = None
    if validation is not None:
        held = np.ascontiguousarray(matrix(encoded.steps, validation[0].columns, validation[0].rows).T), validation[1]
    order = np.random.default_rng(learning.seed).permutation(len(labels)) % passes
    best, best_done, kept = float("inf"), 0, NeuralNetwork((), OUTPUT[learning.task])
    most = length or _MOST_EPOCHS * passes
    for done in range(1, most + 1):
        rows = slice(None) if passes == 1 else order == done % passes
        network.partial_fit(encoded.x[rows], labels[rows], **(first if done == 1 else {}))
        progress(done, most)
        now = _layers(learning.task, network, activation, center, scale)
        loss = -float(done) if held is None else _loss(learning.task, now, *held)
        if loss < best:
            best, best_done, kept = loss, done, now
        elif done - best_done >= _PATIENCE + passes // 2:
            break
        if budget.spent:
            break
    kept = replace(kept, baseline=encoded.x.mean(axis=0))
    return Fitted(Pipeline(encoded.steps, kept), lambda x: _forward(kept, x, learning.task), best_done, pairs)


def _layers(task: str, network: Any, activation: str, center: float, scale: float) -> NeuralNetwork:
    """Return the network as it is now; a regression's last layer gives the label's own unit."""
    *inner, last = zip(network.coefs_, network.intercepts_, strict=True)
    dense = [Dense(weights, bias, activation) for weights, bias in inner]
    return NeuralNetwork((*dense, Dense(last[0] * scale, last[1] * scale + center, "identity")), OUTPUT[task])


def _forward(network: NeuralNetwork, x: FloatArray, task: str) -> FloatArray:
    """Answer with plain matrix products, as scikit-learn does."""
    for layer in network.layers:
        x = x @ layer.weights.numpy + layer.bias.numpy
        if layer.activation == "relu":
            x = np.maximum(x, 0.0)
        elif layer.activation == "tanh":
            x = np.tanh(x)
    if task == "regression":
        return np.asarray(x[:, 0])
    if task == "binary":
        x = np.column_stack([np.zeros(len(x)), x[:, 0]])
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _loss(task: str, network: NeuralNetwork, x: FloatArray, labels: npt.NDArray[Any]) -> float:
    return float(row_losses(task, labels, _forward(network, x, task)).mean())
