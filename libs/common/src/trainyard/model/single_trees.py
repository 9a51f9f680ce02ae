"""Trees for a single row in plain Python: down each tree in turn."""

from __future__ import annotations

import math
from itertools import pairwise

from trainyard.model.ensembles import CATEGORICAL, LEAF, MISSING_LEFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trainyard.model.ensembles import TreeEnsemble


class Walk:
    """An ensemble as lists over its inner nodes, in the order of the file.

    ``left`` and ``right`` hold children: the index of an inner node, or ``~leaf`` for the leaf of that number; so do
    the roots. The threshold of a categorical node is NaN, which no value is below, and ``sets`` has its codes.
    """

    def __init__(self, trees: TreeEnsemble) -> None:
        self._inner = trees.node.data.translate(None, bytes((LEAF,)))
        self._feature, self._threshold = list(trees.feature.flat), list(trees.threshold.flat)
        self._left, self._right, self._roots = _children(trees)
        codes = trees.category.tolist()
        self._sets: dict[int, frozenset[int]] = {}
        if codes:
            bounds = pairwise([*trees.category_start.tolist(), len(codes)])
            sets = [frozenset(codes[begin:end]) for begin, end in bounds]
            for at, node in enumerate(self._inner):
                if node & CATEGORICAL:
                    self._sets[at] = sets[int(self._threshold[at])]
                    self._threshold[at] = math.nan
        self._vector = trees.value.shape[1] > 1
        self._values = trees.value.tolist() if self._vector else list(trees.value.flat)
        self._outputs = trees.tree_output.tolist()
        self._base = trees.base.tolist()
        counts = [len(self._outputs)] * len(self._base)
        if not self._vector:
            counts = [self._outputs.count(k) for k in range(len(self._base))]
        self._divisors = [count or 1 for count in counts] if trees.aggregation == "mean" else None

    def scores(self, x: list[float]) -> list[float]:
        """Return the K scores of one row (D,) of the matrix."""
        total = self._totals(self._leaves(x))
        if self._divisors is not None:
            total = [t / divisor for t, divisor in zip(total, self._divisors, strict=True)]
        return [t + base for t, base in zip(total, self._base, strict=True)]

    def _totals(self, leaves: list[int]) -> list[float]:
        """Return the sums of the leaves' values, added in the order of the trees."""
        values = self._values
        total = [0.0] * len(self._base)
        if self._vector:
            for leaf in leaves:
                total = [t + value for t, value in zip(total, values[leaf], strict=True)]
        elif len(total) == 1:
            one = 0.0
            for leaf in leaves:
                one += values[leaf]
            return [one]
        else:
            for leaf, k in zip(leaves, self._outputs, strict=True):
                total[k] += values[leaf]
        return total

    def _leaves(self, x: list[float]) -> list[int]:
        """Return the number of the leaf in each tree."""
        if self._sets or any(value != value for value in x):  # noqa: PLR0124 - NaN
            return self._leaves_with_care(x)
        feature, threshold, left, right = self._feature, self._threshold, self._left, self._right
        leaves = []
        for root in self._roots:
            at = root
            while at >= 0:
                at = left[at] if x[feature[at]] <= threshold[at] else right[at]
            leaves.append(~at)
        return leaves

    def _leaves_with_care(self, x: list[float]) -> list[int]:
        """Do the same where a value is missing or a node asks for categories."""
        feature, threshold, left, right = self._feature, self._threshold, self._left, self._right
        inner, sets = self._inner, self._sets
        leaves = []
        for root in self._roots:
            at = root
            while at >= 0:
                value = x[feature[at]]
                if value <= threshold[at]:
                    at = left[at]
                elif value == value:  # noqa: PLR0124 - not NaN
                    at = left[at] if at in sets and _holds(sets[at], value) else right[at]
                else:
                    at = left[at] if inner[at] & MISSING_LEFT else right[at]
            leaves.append(~at)
        return leaves


def _holds(codes: frozenset[int], value: float) -> bool:
    """Tell whether the value, rounded up, is one of the codes."""
    return math.isfinite(value) and math.ceil(value) in codes


def _children(trees: TreeEnsemble) -> tuple[list[int], list[int], list[int]]:
    """Return the left and the right child of every inner node, and the root of every tree.

    From the last node to the first, so that both subtrees of a node are known when it is come to.
    """
    at, leaf = len(trees.feature), len(trees.value)
    left, right = [0] * at, [0] * at
    known: list[int] = []
    push, pop = known.append, known.pop
    for node in reversed(trees.node.data):
        if node == LEAF:
            leaf -= 1
            push(~leaf)
        else:
            at -= 1
            left[at], right[at] = pop(), pop()
            push(at)
    return left, right, known[::-1]
