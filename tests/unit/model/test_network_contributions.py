"""Contributions to a network's score: its derivatives, summed up from the baseline to the row."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.model import Dense, NeuralNetwork
from trainyard.model.estimators import network_scores
from trainyard.model.explaining.networks import NetworkContributions


def network(sizes: list[int], activations: list[str], seed: int) -> NeuralNetwork:
    """Return a random network; the last size is the number of scores."""
    rng = np.random.default_rng(seed)
    layers = tuple(
        Dense(rng.normal(size=(a, b)) / np.sqrt(a), rng.normal(size=b) / 2, activation)
        for (a, b), activation in zip(pairwise(sizes), [*activations, "identity"], strict=True)
    )
    return NeuralNetwork(layers, "softmax")


def by_differences(of: NeuralNetwork, baseline: Any, row: Any, steps: int = 20_000) -> Any:
    """Return contributions (K, D) by the midpoint rule, derivatives as quotients of differences."""
    at = baseline[:, None] + (row - baseline)[:, None] * (np.arange(steps) + 0.5) / steps
    found = []
    for j, way in enumerate(row - baseline):
        step = np.zeros((len(row), 1))
        step[j] = 1e-6
        slope = (network_scores(of, at + step) - network_scores(of, at - step)) / 2e-6
        found.append(way * slope.mean(axis=1))
    return np.stack(found, axis=1)


@pytest.mark.parametrize("activations", [["relu"], ["relu", "relu", "relu"], ["tanh", "gelu"], ["gelu", "relu"], []])
def test_they_are_integrated_gradients(activations):
    """Against finite differences, for three rows; ReLU's kinks and smooth functions alike."""
    rng = np.random.default_rng(5)
    of = network([4, *[12] * len(activations), 2], activations, 7)
    x, baseline = rng.normal(size=(4, 3)) * 2, rng.normal(size=4)
    found = NetworkContributions(of, baseline).of(x)
    for row in range(3):
        np.testing.assert_allclose(found[:, :, row], by_differences(of, baseline, x[:, row]), atol=2e-4)


@settings(deadline=None, max_examples=30)
@given(
    hidden=st.lists(st.integers(1, 20), max_size=3),
    activation=st.sampled_from(("relu", "tanh", "gelu", "identity")),
    n_outputs=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_they_sum_to_the_change_of_the_score(hidden, activation, n_outputs, seed):
    """To 1e-6 of it by themselves; to rounding where there are only kinks."""
    rng = np.random.default_rng(seed)
    of = network([5, *hidden, n_outputs], [activation] * len(hidden), seed)
    x, baseline = rng.normal(size=(5, 40)) * 3, rng.normal(size=5)
    x[:, 0] = baseline
    found = NetworkContributions(of, baseline)
    change = network_scores(of, x) - found.base[:, None]
    exact = activation in ("relu", "identity")
    np.testing.assert_allclose(found.of(x).sum(axis=1), change, rtol=0, atol=1e-10 if exact else 2e-6 * 10)
    assert not found.of(x)[:, :, 0].any()


def test_rows_do_not_depend_on_each_other():
    """A row alone has the contributions that it has among many, also across blocks."""
    of = network([6, 200, 100, 1], ["relu", "relu"], 2)
    x = np.random.default_rng(0).normal(size=(6, 70))
    found = NetworkContributions(of, np.zeros(6))
    np.testing.assert_allclose(found.of(x)[:, :, 33:34], found.of(x[:, 33:34]), atol=1e-10)
