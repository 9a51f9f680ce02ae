"""Contributions to the scores of trees are the Shapley values that their definition gives, and LightGBM's own."""

from __future__ import annotations

import math
import tracemalloc
from itertools import combinations
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.errors import ServiceError
from trainyard.model import TreeEnsemble
from trainyard.model.explaining.trees import TreeContributions
from trainyard.model.tree_nodes import Nodes


def expectation(nodes: Nodes, root: int, row: Any, known: frozenset[int]) -> Any:
    """Return what a tree answers (V,) to a row of which only some features are known, weighted by cover."""
    if not nodes.inner[root]:
        first = root * nodes.n_values
        return nodes.value[first : first + nodes.n_values]
    feature = int(nodes.feature[root])
    left, right = nodes.child[2 * root], nodes.child[2 * root + 1]
    if feature in known:
        goes = nodes.go_right(np.array([root]), np.array([row[feature]]))[0]
        return expectation(nodes, right if goes else left, row, known)
    covers = nodes.cover
    assert covers is not None
    share = covers[left] / covers[root] if covers[root] > 0 else 0.5
    sides = [expectation(nodes, side, row, known) for side in (left, right)]
    return share * sides[0] + (1.0 - share) * sides[1]


def shapley(nodes: Nodes, row: Any, width: int) -> tuple[Any, Any]:
    """Return the base (K,) and the contributions (K, D) of a row (D,), coalition by coalition."""
    n_outputs = len(nodes.base)
    output = np.zeros(len(nodes.root), dtype=int)
    for k, trees in enumerate(nodes.slices if nodes.n_values == 1 else []):
        output[trees] = k

    def answer(known: frozenset[int]) -> Any:
        total = np.zeros(n_outputs)
        for root, k in zip(nodes.root.tolist(), output.tolist(), strict=True):
            total[k : k + nodes.n_values] += expectation(nodes, root, row, known)
        if nodes.mean:
            total /= [max(1, trees.stop - trees.start) for trees in nodes.slices]
        return nodes.base + total

    found = np.zeros((n_outputs, width))
    for feature in range(width):
        others = [other for other in range(width) if other != feature]
        for size in range(width):
            weight = math.factorial(size) * math.factorial(width - 1 - size) / math.factorial(width)
            for coalition in combinations(others, size):
                known = frozenset(coalition)
                found[:, feature] += weight * (answer(known | {feature}) - answer(known))
    return answer(frozenset()), found


def grown(
    leaves: list[int], width: int, n_outputs: int, *, vector: bool = False, mean: bool = False, seed: int = 0,
    codes: bool = False, empty: float = 0.0,
) -> TreeEnsemble:  # fmt: skip
    """Return random trees with covers.

    Args:
        leaves: how many each tree has.
        vector: leaves hold a value for each output.
        codes: some splits are categorical.
        empty: share of leaves that no training row has reached.
    """
    rng = np.random.default_rng(seed)
    nodes: dict[str, list[Any]] = {
        name: [] for name in ("feature", "threshold", "left", "right", "default_left", "value", "cover")
    }
    categories: dict[int, list[int]] = {}

    def grow(n_leaves: int) -> int:
        index, leaf = len(nodes["feature"]), n_leaves == 1
        size = rng.normal(size=n_outputs if vector else 1)
        cover = 0.0 if rng.random() < empty else float(rng.integers(1, 50))
        own = (
            -1 if leaf else int(rng.integers(width)),
            0.0 if leaf else float(rng.integers(-3, 4)),
            -1,
            -1,
            0 if leaf else int(rng.integers(2)),
            size if leaf else 0.0 * size,
            cover if leaf else 0.0,
        )
        for name, value in zip(nodes, own, strict=True):
            nodes[name].append(value)
        if not leaf:
            if codes and rng.random() < 0.5:
                categories[index] = [int(code) for code in np.flatnonzero(rng.random(7) < 0.5) - 3]
            left = int(rng.integers(1, n_leaves))
            nodes["left"][index] = grow(left)
            nodes["right"][index] = grow(n_leaves - left)
        return index

    start = [grow(n) for n in leaves]
    return TreeEnsemble.from_nodes(
        tree_start=start,
        **{name: np.array(values) for name, values in nodes.items()},
        categories={index: held or [0] for index, held in categories.items()},
        tree_output=np.zeros(len(start), dtype=int) if vector else rng.integers(0, n_outputs, len(start)),
        base=rng.normal(size=n_outputs),
        aggregation="mean" if mean else "sum",
        output="identity",
    )


def rows_for(width: int, n: int, seed: int) -> Any:
    """Return a matrix (D, rows) of whole numbers and others, some of them missing."""
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((width, n)) < 0.5, rng.integers(-4, 5, (width, n)), 2 * rng.normal(size=(width, n)))
    x[rng.random(x.shape) < 0.15] = math.nan
    return x


def explained(nodes: Nodes) -> TreeContributions:
    cover = nodes.cover
    assert cover is not None
    return TreeContributions(nodes, cover)


@settings(deadline=None, max_examples=40)
@given(
    leaves=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    width=st.integers(1, 5),
    n_outputs=st.integers(1, 3),
    vector=st.booleans(),
    mean=st.booleans(),
    codes=st.booleans(),
    empty=st.sampled_from((0.0, 0.5)),
    seed=st.integers(0, 2**32 - 1),
)
def test_they_are_the_shapley_values(leaves, width, n_outputs, vector, mean, codes, empty, seed):
    """Repeated features, missing values, categories, sides that no row has reached, trees of one leaf."""
    trees = grown(leaves, width, n_outputs, vector=vector, mean=mean, codes=codes, empty=empty, seed=seed)
    nodes, x = Nodes.of(trees), rows_for(width, 3, seed)
    found = explained(nodes)
    few, many = found.of(x), found.of(np.tile(x, 20))
    for row in range(x.shape[1]):
        base, expected = shapley(nodes, x[:, row], width)
        np.testing.assert_allclose(few[:, :, row], expected, atol=1e-12)
        np.testing.assert_allclose(many[:, :, row], expected, atol=1e-12)
        np.testing.assert_allclose(found.base, base, atol=1e-12)


@pytest.mark.parametrize("leaves", [[300], [2, 40, 1, 7, 64] * 5])
def test_they_sum_to_the_score(leaves):
    """Deep trees and many, in blocks of rows; the same for a row alone and for few rows."""
    nodes = Nodes.of(grown(leaves, 30, 2, seed=len(leaves)))
    x = rows_for(30, 500, 1)
    found = explained(nodes)
    contributions = found.of(x)
    np.testing.assert_allclose(found.base[:, None] + contributions.sum(axis=1), nodes.scores(x), atol=1e-11)
    for n in (1, 2, 5, 6):
        np.testing.assert_allclose(found.of(x[:, 7 : 7 + n]), contributions[:, :, 7 : 7 + n], atol=1e-13)


def test_a_feature_that_no_tree_reads_has_none():
    """Zero, not nearly zero."""
    contributions = explained(Nodes.of(grown([6, 6], 3, 1))).of(rows_for(5, 20, 0))
    assert not contributions[:, 3:].any()
    assert contributions[:, :3].any()


@pytest.mark.parametrize("objective", ["regression", "binary", "multiclass"])
def test_they_are_lightgbms_own(objective):
    """Missing values, and categories as LightGBM splits them."""
    x, y = _table(objective)
    params = {"objective": objective, "num_class": 3, "num_leaves": 15, "num_threads": 1, "verbosity": -1, "seed": 1}
    params |= {"min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1.0, "max_cat_to_onehot": 1}
    if objective != "multiclass":
        del params["num_class"]
    booster = lightgbm.train(params, lightgbm.Dataset(x, y, categorical_feature=[0, 1]), 12)
    n_outputs = 3 if objective == "multiclass" else 1
    found = explained(Nodes.of(_converted(booster, n_outputs)))
    theirs = booster.predict(x[:200], pred_contrib=True).reshape(200, n_outputs, -1)
    np.testing.assert_allclose(found.of(x[:1].T).transpose(2, 0, 1), theirs[:1, :, :-1], atol=1e-9)
    np.testing.assert_allclose(found.of(x[:200].T).transpose(2, 0, 1), theirs[:, :, :-1], atol=1e-9)
    np.testing.assert_allclose(found.base, theirs[0, :, -1], atol=1e-9)


def _table(objective: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1_500, 6))
    x[:, :2] = rng.integers(0, 12, (len(x), 2))
    target = np.sin(3 * x[:, 0]) + (x[:, 1] % 3) * x[:, 2] + x[:, 3] + rng.normal(size=len(x)) / 4
    x[rng.random(x.shape) < 0.1] = np.nan
    target += np.isnan(x[:, 3]) * 2
    cuts = {"binary": [0.5], "multiclass": [0.3, 0.7]}.get(objective)
    return x, target if cuts is None else np.searchsorted(np.quantile(target, cuts), target)


def _converted(booster: Any, n_outputs: int) -> Any:
    """Return LightGBM's trees, categorical splits and covers included, for rows whose categories training has seen."""
    nodes: dict[str, list[Any]] = {
        name: [] for name in ("feature", "threshold", "left", "right", "default_left", "value", "cover")
    }
    categories: dict[int, list[int]] = {}

    def add(node: dict[str, Any]) -> int:
        at, leaf = len(nodes["feature"]), "split_feature" not in node
        by_code = not leaf and node["decision_type"] == "=="
        if by_code:
            categories[at] = [int(code) for code in node["threshold"].split("||")]
        threshold = 0.0 if leaf or by_code else float(node["threshold"])
        default = (
            0 if leaf or by_code else int(node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0)
        )
        value, cover = (node["leaf_value"], node.get("leaf_count", 1)) if leaf else (0.0, 0)
        own = (-1 if leaf else node["split_feature"], threshold, -1, -1, default, [value], cover)
        for name, one in zip(nodes, own, strict=True):
            nodes[name].append(one)
        if not leaf:
            nodes["left"][at] = add(node["left_child"])
            nodes["right"][at] = add(node["right_child"])
        return at

    starts = [add(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]
    return TreeEnsemble.from_nodes(
        tree_start=starts,
        **nodes,
        categories=categories,
        tree_output=np.arange(len(starts)) % n_outputs,
        base=np.zeros(n_outputs),
        aggregation="sum",
        output="identity",
    )


def complete(depth: int) -> TreeEnsemble:
    """Return one tree whose paths meet ``depth`` features each."""
    preorder = b"\1"
    for _ in range(depth):
        preorder = b"\0" + preorder + preorder
    node = np.frombuffer(preorder, np.uint8)
    n_leaves = 1 << depth
    level = np.zeros(1, dtype=np.intp)
    for _ in range(depth):
        level = np.concatenate([[0], level + 1, level + 1])
    return TreeEnsemble(
        node=node,
        feature=level[node == 0],
        threshold=np.zeros(n_leaves - 1),
        category_start=[],
        category=[],
        value=np.arange(n_leaves, dtype=np.float64)[:, None] / n_leaves,
        tree_output=[0],
        base=[0.0],
        aggregation="sum",
        output="identity",
        cover=np.ones(n_leaves),
    )


def test_a_row_of_a_large_tree_takes_little_memory():
    """262,143 nodes with paths of 17 features: at most 64 MiB, and still the exact sum."""
    nodes = Nodes.of(complete(17))
    explained = TreeContributions(nodes, nodes.cover)
    x = np.where(np.arange(17) % 2, 1.0, -1.0)[:, None]
    tracemalloc.start()
    try:
        found = explained.of(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    leaf = int("".join(str(way) for way in np.arange(17) % 2), 2)
    np.testing.assert_allclose(explained.base + found.sum(axis=1)[:, 0], [leaf / (1 << 17)], atol=1e-12)
    assert peak < 64 << 20


def test_a_tree_that_is_too_large_is_refused():
    """The error names the limit."""
    nodes = Nodes.of(complete(19))
    with pytest.raises(ServiceError, match="1,048,575 nodes, 524,288 can be explained") as refused:
        TreeContributions(nodes, nodes.cover)
    assert refused.value.code == "cannot_explain"
