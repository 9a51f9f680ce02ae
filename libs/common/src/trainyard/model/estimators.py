"""Linear models and networks on a feature-major matrix, and the functions that turn scores into probabilities.

No matrix product of a linear-algebra library is used: its rounding depends on the size of the batch and on the
machine. Here every sum runs over the inputs in order, so one row alone gives the same bits as in a million.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainyard.model.dto import Isotonic, Platt
from trainyard.model.elementary import TINY
from trainyard.model.elementary_arrays import exp, log

if TYPE_CHECKING:
    from trainyard.model.dto import Calibration, Dense, FloatArray, Linear, NeuralNetwork

_SMALL = 1 << 16  # products that are made at once rather than input by input
#: of the tanh form of gelu
GELU, GELU_CUBIC = float(np.sqrt(2.0 / np.pi)), 0.044715


def affine(x: FloatArray, weights: FloatArray, bias: FloatArray) -> FloatArray:
    """Return ``bias + x.T @ weights`` transposed: x (D, rows), weights (D, K), bias (K,) -> (K, rows)."""
    n = x.shape[1]
    if weights.size * n <= _SMALL:
        products = np.empty((len(x) + 1, len(bias), n))
        products[0] = bias[:, None]
        np.multiply(weights[:, :, None], x[:, None, :], out=products[1:])
        return np.asarray(np.cumsum(products, axis=0)[-1])
    total = np.repeat(bias[:, None], n, axis=1)
    product = np.empty_like(total)
    for row, values in zip(weights, x, strict=True):
        np.multiply(row[:, None], values[None, :], out=product)
        total += product
    return total


def linear_scores(model: Linear, x: FloatArray) -> FloatArray:
    """Return the scores (K, rows) of a matrix (D, rows)."""
    return affine(x, model.weights.numpy, model.bias.numpy)


def network_scores(model: NeuralNetwork, x: FloatArray) -> FloatArray:
    """Return the scores (K, rows) of a matrix (D, rows)."""
    for layer in model.layers:
        x = _dense(layer, x)
    return x


def _dense(layer: Dense, x: FloatArray) -> FloatArray:
    return activated(layer.activation, affine(x, layer.weights.numpy, layer.bias.numpy))


def activated(activation: str, z: FloatArray) -> FloatArray:
    """Return an activation of each number."""
    if activation == "relu":
        return np.maximum(z, 0.0)
    if activation == "tanh":
        return np.asarray(np.tanh(z))
    if activation == "gelu":
        return np.asarray(0.5 * z * (1.0 + np.tanh(GELU * (z + GELU_CUBIC * z * z * z))))
    return z


def to_output(output: str, task: str, scores: FloatArray) -> FloatArray:
    """Turn an estimator's scores (K, rows) into probabilities or values of the same shape."""
    if output == "sigmoid":
        return sigmoid(scores)
    if output == "softmax":
        return softmax(scores)
    if output == "exp":
        return exp(scores)
    if task == "regression":
        return scores
    return np.clip(scores, 0.0, 1.0) if task == "binary" else normalised(scores)


def sigmoid(z: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    small = exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def softmax(z: FloatArray) -> FloatArray:
    """Return the softmax over the first axis of (K, rows)."""
    e = exp(z - z.max(axis=0))
    return np.asarray(e / _total(e))


def normalised(p: FloatArray) -> FloatArray:
    """Return non-negative scores (K, rows) scaled to sum 1 over the first axis; uniform where all are 0."""
    p = np.clip(p, 0.0, 1.0)
    total = _total(p)
    return np.where(total == 0, 1.0 / len(p), p / np.where(total == 0, 1.0, total))


def calibrated(p: FloatArray, calibration: Calibration | None) -> FloatArray:
    """Return calibrated probabilities: p (1, rows), those of the second class, or (classes, rows)."""
    if calibration is None:
        return p
    if isinstance(calibration, Isotonic):
        return interpolated(p, calibration.at.numpy, calibration.to.numpy)
    p = np.clip(p, TINY, 1.0 - TINY)
    if isinstance(calibration, Platt):
        return sigmoid((log(p) - log(1.0 - p)) * calibration.slope + calibration.intercept)
    if len(p) == 1:
        return sigmoid((log(p) - log(1.0 - p)) / calibration.temperature)
    return softmax(log(p) / calibration.temperature)


def interpolated(x: FloatArray, at: FloatArray, to: FloatArray) -> FloatArray:
    """Return where straight lines between the points (``at``, ``to``) are at x, flat beyond the ends; NaN is NaN."""
    left = np.clip(np.searchsorted(at, x, side="right") - 1, 0, len(at) - 2)
    slope = (to[left + 1] - to[left]) / (at[left + 1] - at[left])
    found = to[left] + (x - at[left]) * slope
    found = np.where(x <= at[0], to[0], np.where(x >= at[-1], to[-1], found))
    return np.where(np.isnan(x), np.nan, found)


def _total(p: FloatArray) -> FloatArray:
    """Return the sum over the first axis, added in order whatever the number of rows."""
    return np.asarray(np.cumsum(p, axis=0)[-1])
