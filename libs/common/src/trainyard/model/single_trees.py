"""Trees for a single row in plain Python: down each tree in turn."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from trainyard.model.ensembles import CATEGORICAL, LEAF, MISSING_LEFT

if TYPE_CHECKING:
    from trainyard.model.ensembles import TreeEnsemble


class Walk:
    """An ensemble as lists over its nodes, in the order of the file: a left child follows its parent.

    ``feature`` is -1 at a leaf, ``number`` there which leaf it is, and the threshold elsewhere; for a categorical node
    it is NaN, which no value is below, and ``sets`` has its codes.
    """

    def __init__(self, trees: TreeEnsemble) -> None:
        self._node = trees.node.data
        self._feature, self._number, self._right, self._roots = _lists(trees)
        ends = [*trees.category_start.tolist()[1:], len(trees.category)]
        codes = trees.category.tolist()
        sets = [frozenset(codes[begin:end]) for begin, end in pairwise([0, *ends])]
        self._sets: dict[int, frozenset[int]] = {}
        for at, node in enumerate(self._node):
            if node & CATEGORICAL:
                self._sets[at] = sets[int(self._number[at])]
                self._number[at] = math.nan
        self._values = trees.value.tolist() if trees.value.shape[1] > 1 else list(trees.value.flat)
        self._vector = trees.value.shape[1] > 1
        self._outputs = trees.tree_output.tolist()
        self._base = trees.base.tolist()
        counts = [len(self._outputs)] * len(self._base)
        if not self._vector:
            counts = [self._outputs.count(k) for k in range(len(self._base))]
        self._divisors = [count or 1 for count in counts] if trees.aggregation == "mean" else None

    def scores(self, x: list[float]) -> list[float]:
        """Return the K scores of one row (D,) of the matrix."""
        total = [0.0] * len(self._base)
        for leaf, k in zip(self._leaves(x), self._outputs, strict=True):
            if self._vector:
                total = [t + value for t, value in zip(total, self._values[leaf], strict=True)]
            else:
                total[k] += self._values[leaf]
        if self._divisors is not None:
            total = [t / divisor for t, divisor in zip(total, self._divisors, strict=True)]
        return [t + base for t, base in zip(total, self._base, strict=True)]

    def _leaves(self, x: list[float]) -> list[int]:
        """Return the number of the leaf in each tree."""
        feature, number, right, node, sets = self._feature, self._number, self._right, self._node, self._sets
        leaves = []
        for root in self._roots:
            at = root
            while (column := feature[at]) >= 0:
                value = x[column]
                if value <= number[at]:
                    at += 1
                elif value == value:  # noqa: PLR0124 - not NaN
                    at = at + 1 if at in sets and _holds(sets[at], value) else right[at]
                else:
                    at = at + 1 if node[at] & MISSING_LEFT else right[at]
            leaves.append(int(number[at]))
        return leaves


def _holds(codes: frozenset[int], value: float) -> bool:
    """Tell whether the value, rounded up, is one of the codes."""
    return math.isfinite(value) and math.ceil(value) in codes


def _lists(trees: TreeEnsemble) -> tuple[list[int], list[float], list[int], list[int]]:
    """Return feature, number and right child of every node, and the roots."""
    features, thresholds = iter(trees.feature.flat), iter(trees.threshold.flat)
    feature: list[int] = []
    number: list[float] = []
    right = [0] * len(trees.node)
    roots, n_leaves = [0], 0
    waiting: list[int] = []
    for at, node in enumerate(trees.node.data):
        if node == LEAF:
            feature.append(-1)
            number.append(n_leaves)
            n_leaves += 1
            if waiting:
                right[waiting.pop()] = at + 1
            else:
                roots.append(at + 1)
        else:
            feature.append(next(features))
            number.append(next(thresholds))
            waiting.append(at)
    roots.pop()
    return feature, number, right, roots
