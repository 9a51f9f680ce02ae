"""Contributions per feature: 200 trees of 31 leaves on 30 features, ours in numpy beside LightGBM's; one thread each.

LightGBM fits on features with missing values and explains with ``pred_contrib``; ours must equal it to 1e-6 on every
row that is measured. A network of 64 and 32 units shows what those take. Times are the processor's, as the machine may
have other work; figures are medians of rounds, ratios medians of the ratios within a round.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np

from trainyard.model import Dense, NeuralNetwork
from trainyard.model.explaining.networks import NetworkContributions
from trainyard.model.explaining.trees import TreeContributions
from trainyard.model.tree_nodes import Nodes
from trainyard_trainer.learning.trees import export

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
TREES, LEAVES, FEATURES = 200, 31, 30
FITTED_ROWS = 20_000
#: rows -> calls in a round
SIZES = {1: 20, 10: 10, 100: 3, 1_000: 1}
HIDDEN = (64, 32)
TOLERANCE = 1e-6


def run() -> dict[str, Any]:
    """Measure, print the table and return its figures."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(FITTED_ROWS + max(SIZES), FEATURES))
    target = x @ rng.normal(size=FEATURES) + np.sin(2 * x[:, 0]) * x[:, 1] + x[:, 2] * x[:, 3] + rng.normal(size=len(x))
    complete = np.ascontiguousarray(x[FITTED_ROWS:].T)
    x[rng.random(x.shape) < 0.05] = np.nan
    shape = {"objective": "regression", "num_leaves": LEAVES, "num_threads": 1, "seed": 1, "verbosity": -1}
    booster = lightgbm.train(shape, lightgbm.Dataset(x[:FITTED_ROWS], target[:FITTED_ROWS]), TREES)
    asked = x[FITTED_ROWS:]
    matrix = np.ascontiguousarray(asked.T)  # as the predictor makes it
    trees, seconds = _built(booster)
    theirs = booster.predict(asked, pred_contrib=True, num_threads=1)
    apart = float(np.abs(trees.of(matrix)[0].T - theirs[:, :-1]).max())
    assert apart <= TOLERANCE, f"our contributions are up to {apart} off LightGBM's"
    network = _network(rng)
    ways: dict[str, Callable[[int], object]] = {
        "trees, ours": lambda n: trees.of(matrix[:, :n]),
        "trees, lightgbm": lambda n: booster.predict(asked[:n], pred_contrib=True, num_threads=1),
        "network, ours": lambda n: network.of(complete[:, :n]),
    }
    print(f"   lightgbm {lightgbm.__version__}, numpy {np.__version__}; made ready in {seconds * 1e3:.0f} ms")
    print(f"   largest difference from LightGBM: {apart:.1e}")
    return {**_table(_rounds(ways)), "ready_ms": seconds * 1e3, "largest_difference": apart}


def _built(booster: lightgbm.Booster) -> tuple[TreeContributions, float]:
    ensemble = export(booster, TREES, "regression", np.zeros(1))
    began = time.process_time()
    nodes = Nodes.of(ensemble)
    cover = nodes.cover
    assert cover is not None
    return TreeContributions(nodes, cover), time.process_time() - began


def _network(rng: np.random.Generator) -> NetworkContributions:
    sizes = (FEATURES, *HIDDEN, 1)
    layers = [
        Dense(rng.normal(size=(sizes[i], sizes[i + 1])) / np.sqrt(sizes[i]), rng.normal(size=sizes[i + 1]), "relu")
        for i in range(len(HIDDEN))
    ]
    last = Dense(rng.normal(size=(HIDDEN[-1], 1)), np.zeros(1), "identity")
    return NetworkContributions(NeuralNetwork((*layers, last), "identity"), np.zeros(FEATURES))


def _rounds(ways: dict[str, Callable[[int], object]]) -> dict[tuple[str, int], list[float]]:
    """Return the seconds of a call, round by round; a first round warms everything up."""
    found: dict[tuple[str, int], list[float]] = {}
    for number in range(ROUNDS + 1):
        for rows, times in SIZES.items():
            for name, way in ways.items():
                seconds = []
                for _ in range(times):
                    began = time.process_time()
                    way(rows)
                    seconds.append(time.process_time() - began)
                if number:
                    found.setdefault((name, rows), []).append(statistics.median(seconds))
    return found


def _table(found: dict[tuple[str, int], list[float]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for name, _ in found))
    us = {name: {rows: statistics.median(found[name, rows]) / rows * 1e6 for rows in SIZES} for name in names}
    pairs = {rows: zip(found["trees, lightgbm", rows], found["trees, ours", rows], strict=True) for rows in SIZES}
    ratio = {rows: statistics.median(theirs / ours for theirs, ours in both) for rows, both in pairs.items()}
    print(f"   {'us for a row':<22}" + "".join(f"{f'{rows:,} rows':>12}" for rows in SIZES))
    for name in names:
        print(f"   {name:<22}" + "".join(f"{us[name][rows]:>12.0f}" for rows in SIZES))
    print(f"   {'lightgbm, times ours':<22}" + "".join(f"{ratio[rows]:>12.2f}" for rows in SIZES))
    return {"us": us, "lightgbm_times_ours": ratio}
