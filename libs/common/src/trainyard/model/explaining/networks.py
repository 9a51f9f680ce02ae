"""Integrated gradients of networks: Sundararajan, Taly and Yan (2017).

On the straight line from the baseline b to the row x, input j contributes (x_j - b_j) times the mean of the score's
derivative by j; with the exact mean the contributions sum to score(x) - score(b). Along the line the first layer's sums
are linear, so the inputs are looked at once for each row, not once for each point of the line.

The derivative jumps where a ReLU turns on or off. These points are found layer by layer: between two of them, where
only ReLU and identity come before, the next layer's sums are linear in the place on the line, and their zeros known.
With them as bounds the midpoint rule is exact for networks of these two. Others have eight Gauss-Legendre points in
each interval, and for rows whose sum is still off by more than 1e-6 of the score's change the line is cut into 2, 4 ..
32 parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainyard.model.estimators import GELU, GELU_CUBIC, activated, network_scores
from trainyard.model.explaining.quadrature import quadrature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.model.dto import FloatArray, NeuralNetwork

TOLERANCE = 1e-6
_MOST_PARTS = 32
_POINTS = 8
_MOST_CUTS = 1_024  # bounds the memory: networks of so many ReLUs that turn on one line are cut in equal parts besides
_CELLS = 1 << 20  # numbers of one layer at once
# measured on one core, rounded up: a product on the way up or down, and a unit
_PRODUCT_SECONDS, _UNIT_SECONDS = 75e-12, 15e-9


class NetworkContributions:
    """A network ready to be explained.

    Attributes:
        base: the score at the baseline, (K,).
    """

    def __init__(self, network: NeuralNetwork, baseline: FloatArray) -> None:
        """Take the network and its baseline (D,)."""
        self._layers = [(np.asarray(one.weights), np.asarray(one.bias), one.activation) for one in network.layers]
        self._network = network
        self._baseline = baseline
        kinds = {activation for _, _, activation in self._layers}
        self._cuts_at = [activation == "relu" for _, _, activation in self._layers]
        self._points = quadrature(1 if kinds <= {"relu", "identity"} else _POINTS)
        self.base: FloatArray = network_scores(network, baseline[:, None])[:, 0]

    def seconds(self, n_outputs: int) -> float:
        """Return about how long a row takes at most, the contributions to so many outputs."""
        points = len(self._points[0])
        cuts = sum(min(_MOST_CUTS, len(bias)) for _, bias, activation in self._layers if activation == "relu")
        tries = [1] if points == 1 else [1 << power for power in range(_MOST_PARTS.bit_length())]
        places = points * sum(cuts + parts for parts in tries)
        products = sum(weights.size for weights, _, _ in self._layers[1:]) * (1 + n_outputs)
        units = sum(len(bias) for _, bias, _ in self._layers) * (1 + n_outputs) / 2
        inputs = self._layers[0][0].size * n_outputs
        return places * (products * _PRODUCT_SECONDS + units * _UNIT_SECONDS) + inputs * _PRODUCT_SECONDS

    def of(self, x: FloatArray, outputs: Sequence[int] | None = None) -> FloatArray:
        """Return the contributions (K, D, rows) of a matrix (D, rows), or those to some outputs only."""
        outputs = range(len(self.base)) if outputs is None else outputs
        change = (network_scores(self._network, x) - self.base[:, None])[list(outputs)]
        allowed = TOLERANCE * np.maximum(1.0, np.abs(change))
        way = x - self._baseline[:, None]
        out = np.empty((len(outputs), *x.shape))
        rows, parts = np.arange(x.shape[1]), 1
        while len(rows):
            out[:, :, rows] = self._integrated(way[:, rows], parts, outputs)
            gap = np.abs(out[:, :, rows].sum(axis=1) - change[:, rows])
            rows = rows[(gap > allowed[:, rows]).any(axis=0)]
            parts *= 2
            if parts > _MOST_PARTS:
                break
        return out

    def _integrated(self, way: FloatArray, parts: int, outputs: Sequence[int]) -> FloatArray:
        """Return contributions (K, D, rows) of the way (D, rows) from the baseline, cut into so many parts at least."""
        first, bias, _ = self._layers[0]
        start = self._baseline @ first + bias
        step = way.T @ first  # of the first layer's sums, (rows, units)
        out = np.empty((len(outputs), *way.shape))
        widest = max(w.shape[1] for w, _, _ in self._layers)
        block = max(1, _CELLS // (widest * 128))
        for begin in range(0, len(step), block):
            bounds = self._bounds(start, step[begin : begin + block], parts)
            columns = max(1, _CELLS // (widest * block))
            slope = self._mean_slope(start, step[begin : begin + block], bounds, columns, outputs)
            out[:, :, begin : begin + block] = (slope @ first.T).transpose(0, 2, 1) * way[:, begin : begin + block]
        return out

    def _mean_slope(
        self, start: FloatArray, step: FloatArray, bounds: FloatArray, columns: int, outputs: Sequence[int]
    ) -> FloatArray:
        """Return the mean derivative of each score by the first layer's sums, (K, rows, units)."""
        points, weights = self._points
        width = np.diff(bounds, axis=1)
        at = (bounds[:, :-1, None] + width[:, :, None] * points).reshape(len(step), -1)
        weight = (width[:, :, None] * weights).reshape(len(step), -1)
        total = np.zeros((len(outputs), *step.shape))
        for begin in range(0, at.shape[1], columns):
            here = slice(begin, begin + columns)
            sums = self._sums(start + at[:, here, None] * step[:, None, :])
            for place, k in enumerate(outputs):
                total[place] += np.einsum("rp,rpu->ru", weight[:, here], self._slopes(sums, k))
        return total

    def _sums(self, first: FloatArray, upto: int | None = None) -> list[FloatArray]:
        """Return the sums before the activation (…, units) of each layer, from those of the first."""
        found = [first]
        for (weights, bias, _), (_, _, before) in zip(self._layers[1:upto], self._layers, strict=False):
            found.append(activated(before, found[-1]) @ weights + bias)
        return found

    def _slopes(self, sums: list[FloatArray], k: int) -> FloatArray:
        """Return the derivative of score k by the first layer's sums, from the sums of all layers."""
        one = np.zeros(sums[-1].shape[-1])
        one[k] = 1.0
        slope = one * _derivative(self._layers[-1][2], sums[-1])
        for number in range(len(self._layers) - 1, 0, -1):
            slope = slope @ self._layers[number][0].T * _derivative(self._layers[number - 1][2], sums[number - 1])
        return np.asarray(slope)

    def _bounds(self, start: FloatArray, step: FloatArray, parts: int) -> FloatArray:
        """Return where the line is cut, (rows, cuts): from 0 to 1, with repetitions."""
        bounds = np.tile(np.linspace(0.0, 1.0, parts + 1), (len(step), 1))
        for number, has_kinks in enumerate(self._cuts_at):
            if has_kinks:
                sums = self._sums(start + bounds[:, :, None] * step[:, None, :], number + 1)[-1]
                bounds = _with_zeros(bounds, sums)
        return bounds


def _with_zeros(bounds: FloatArray, sums: FloatArray) -> FloatArray:
    """Add to the bounds (rows, M) where sums (rows, M, units), linear between them, are zero."""
    left, right = sums[:, :-1], sums[:, 1:]
    turns = (left < 0) != (right < 0)
    change = np.where(turns, left - right, 1.0)
    place = bounds[:, :-1, None] + np.diff(bounds, axis=1)[:, :, None] * (left / change)
    found = np.sort(np.where(turns, place, 1.0).reshape(len(bounds), -1), axis=1)
    most = min(_MOST_CUTS, int(turns.sum(axis=(1, 2)).max(initial=0)))
    return np.asarray(np.sort(np.concatenate([bounds, found[:, :most]], axis=1), axis=1))


def _derivative(activation: str, z: FloatArray) -> FloatArray:
    if activation == "relu":
        return (z > 0).astype(np.float64)
    if activation == "tanh":
        t = np.tanh(z)
        return np.asarray(1.0 - t * t)
    if activation == "gelu":
        t = np.tanh(GELU * (z + GELU_CUBIC * z * z * z))
        return np.asarray(0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * GELU * (1.0 + 3.0 * GELU_CUBIC * z * z))
    return np.ones_like(z)
