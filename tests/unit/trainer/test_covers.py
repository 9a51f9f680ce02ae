"""Exported trees know how many rows reached their leaves, so that they can be explained as their library would."""

from __future__ import annotations

import numpy as np
import pytest

from trainyard.clock import SystemClock
from trainyard.model.explaining.trees import TreeContributions
from trainyard.model.tree_nodes import Nodes
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.encoders import Encoded
from trainyard_trainer.learning.trees import boost, export, parameters


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_boosted_trees_contribute_as_lightgbm_says(task: str, share: float) -> None:
    """With missing values, and columns in which training saw none; rows that a round left out do not count."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 5))
    y = x[:, 0] * x[:, 1] + x[:, 2]
    x[:, :3][rng.random((400, 3)) < 0.1] = np.nan
    labels = y if task == "regression" else np.searchsorted([0.0] if task == "binary" else [-0.5, 0.5], y)
    n_outputs = 3 if task == "multiclass" else 1
    params = parameters(task, n_outputs, len(x), 0, {"num_leaves": 7, "bagging_fraction": share})
    budget = Budget(SystemClock(), 60.0)
    booster, rounds = boost(params, Encoded((), x), labels, budget, rounds=10, progress=lambda *_: None)
    nodes = Nodes.of(export(booster, rounds, task, np.zeros(n_outputs)))
    cover = nodes.cover
    assert cover is not None
    assert (cover[nodes.root] == 400.0).all() if share == 1.0 else (cover[nodes.root] < 300.0).all()
    found = TreeContributions(nodes, cover)
    theirs = booster.predict(x[:50], pred_contrib=True).reshape(50, n_outputs, -1)
    np.testing.assert_allclose(found.of(x[:50].T).transpose(2, 0, 1), theirs[:, :, :-1], atol=1e-6)
    np.testing.assert_allclose(found.base, theirs[0, :, -1], atol=1e-6)
