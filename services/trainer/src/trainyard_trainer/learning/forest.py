"""Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006): scikit-learn grows them, a few at a time.

They answer with the mean of their leaves and err elsewhere than boosted trees do, which is what makes them worth their
place in a blend. scikit-learn compares in float32; the exported thresholds are moved, within half a step of float32, so
that comparing in float64 goes the same way for every number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from trainyard.model import Pipeline, TreeEnsemble
from trainyard.model.float32 import at_most_in_double
from trainyard_trainer.learning.fitting import Fitted, prior_of
from trainyard_trainer.learning.pairs import TREES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.fitting import Learning

MOST_TREES = 100
#: Rows that trees are grown on between two looks at the budget.
_STRETCH_ROWS = 50_000
_MOST_DEPTH = 24
#: A leaf has at least one row in so many, so that a model stays small whatever the table.
_LEAF_SHARE = 300
#: What the prior counts as in a leaf, in rows: no leaf says "never".
_SMOOTHING = 0.1


def fit_forest(
    learning: Learning,
    params: Mapping[str, Any],
    budget: Budget,
    *,
    length: int | None = None,
    progress: Callable[[int, int], None],
    **_: Any,
) -> Fitted:
    """Grow one; its length is its number of trees.

    ``params``: ``max_features``, the share tried at each split; ``pairs``: :meth:`Learning.pairs`.
    """
    pairs = learning.pairs(params, TREES, budget)
    encoded = learning.for_trees(pairs=pairs)
    labels = learning.labels
    known: dict[str, Any] = {
        "n_estimators": 0,
        "max_features": params["max_features"],
        "min_samples_leaf": max(2, len(labels) // _LEAF_SHARE),
        "max_depth": _MOST_DEPTH,
        "random_state": learning.seed,
        "warm_start": True,
    }
    forest: Any = ExtraTreesRegressor(**known) if learning.task == "regression" else ExtraTreesClassifier(**known)
    most = min(length or MOST_TREES, MOST_TREES)
    x = encoded.x.astype(np.float32)
    stretch = max(1, min(10, _STRETCH_ROWS // len(x)))
    while forest.n_estimators < most:
        forest.n_estimators = min(most, forest.n_estimators + stretch)
        forest.fit(x, labels)
        progress(forest.n_estimators, most)
        if budget.spent:
            break
    trees = [grown.tree_ for grown in forest.estimators_]
    prior = prior_of(learning.task, learning.n_classes, labels, 1)[0]
    leaves = [_values(learning.task, tree, prior) for tree in trees]

    def answer(m: FloatArray) -> FloatArray:
        single = m.astype(np.float32)
        means = sum(value[tree.apply(single)] for tree, value in zip(trees, leaves, strict=True)) / len(trees)
        if learning.task == "regression":
            return np.asarray(means[:, 0])
        return np.column_stack([1.0 - means, means]) if learning.task == "binary" else np.asarray(means)

    return Fitted(Pipeline(encoded.steps, _export(trees, leaves)), answer, len(trees), pairs)


def _values(task: str, tree: Any, prior: Any) -> FloatArray:
    """Return what each node answers, shape (nodes, K): the mean of its rows, drawn to the prior."""
    found = tree.value[:, 0, :]
    if task == "binary":
        found, prior = found[:, 1:], prior[1:]
    if task == "regression":
        return np.asarray(found, dtype=np.float64)
    rows = tree.n_node_samples[:, None].astype(np.float64)
    return np.asarray((found * rows + _SMOOTHING * prior) / (rows + _SMOOTHING))


def _export(trees: list[Any], leaves: list[FloatArray]) -> TreeEnsemble:
    """Return the trees as node arrays; scikit-learn numbers nodes depth first, so children come after their parent."""
    starts = np.cumsum([0] + [tree.node_count for tree in trees])
    leaf = np.concatenate([tree.children_left < 0 for tree in trees])

    def joined(arrays: list[Any], at_leaf: float) -> Any:
        return np.where(leaf, at_leaf, np.concatenate(arrays))

    shifted = list(zip(trees, starts[:-1], strict=True))
    value = np.concatenate(leaves)
    return TreeEnsemble.from_nodes(
        tree_start=starts[:-1],
        feature=joined([tree.feature for tree in trees], -1),
        threshold=joined([at_most_in_double(tree.threshold) for tree in trees], 0.0),
        left=joined([tree.children_left + start for tree, start in shifted], -1),
        right=joined([tree.children_right + start for tree, start in shifted], -1),
        default_left=joined([tree.missing_go_to_left for tree in trees], 0),
        value=np.where(leaf[:, None], value, 0.0),
        cover=np.concatenate([tree.weighted_n_node_samples for tree in trees]),
        tree_output=np.zeros(len(trees), dtype=np.int32),
        base=np.zeros(value.shape[1]),
        aggregation="mean",
        output="identity",
    )
