"""Tree ensembles as the kernels read them: flat node arrays, and the walk down all trees at once.

:meth:`Nodes.of` is the only place that reads the arrays of the DTO. The walk needs no more than these arrays, which
makes it right for a few rows; for many, :mod:`trainyard.model.tree_tables` is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from trainyard.model.dto import FloatArray, TreeEnsemble

Indexes = npt.NDArray[np.intp]

_WALK_CELLS = 16_384  # rows x trees at once: what stays in the second-level cache
_WALK_ROWS = 512  # at most: enough for the trees at work to stay in the first-level cache
_LEAF_CELLS = 524_288  # rows x trees whose leaves are kept until they are added up


@dataclass(frozen=True)
class Nodes:
    """T trees, sorted by output, and their N nodes.

    Shapes: root (T,); child (2 N,), the left and the right child of node i at 2 i and 2 i + 1, i itself at a leaf;
    inner (N,), whether the node has children; feature, threshold and missing_right (N,); value (N x V,), the V
    values of node i from V i on; base (K,). The trees ``slices[k]`` add to output k; if V > 1, all add to each.
    """

    root: Indexes
    child: Indexes
    inner: npt.NDArray[np.bool_]
    feature: Indexes
    threshold: FloatArray
    missing_right: npt.NDArray[np.bool_]
    value: FloatArray
    base: FloatArray
    n_values: int
    slices: list[slice]
    mean: bool

    @classmethod
    def of(cls, trees: TreeEnsemble) -> Nodes:
        """Return the nodes of an ensemble that has passed the checks."""
        n_outputs, n_values = len(trees.base), trees.value.shape[1]
        order = np.argsort(trees.tree_output, kind="stable")
        bounds = np.searchsorted(trees.tree_output[order], np.arange(n_outputs + 1)).tolist()
        slices = [slice(a, b) for a, b in pairwise(bounds)]
        if n_values > 1:
            slices = [slice(0, len(order))] * n_outputs
        inner = trees.feature >= 0
        itself = np.arange(len(inner))
        child = np.stack([np.where(inner, trees.left, itself), np.where(inner, trees.right, itself)], axis=1)
        return cls(
            root=trees.tree_start[order].astype(np.intp),
            child=child.reshape(-1).astype(np.intp, copy=False),
            inner=inner,
            feature=np.maximum(trees.feature, 0).astype(np.intp),
            threshold=trees.threshold,
            missing_right=trees.default_left == 0,
            value=trees.value.reshape(-1),
            base=trees.base,
            n_values=n_values,
            slices=slices,
            mean=trees.aggregation == "mean",
        )

    def scores(self, x: FloatArray) -> FloatArray:
        """Return the scores (K, rows) of a matrix (D, rows)."""
        n, n_trees = x.shape[1], len(self.root)
        out = np.empty((len(self.base), n))
        block = max(1, min(_WALK_ROWS, _LEAF_CELLS // n_trees))
        for begin in range(0, n, block):
            by_row = np.ascontiguousarray(x[:, begin : begin + block].T)  # the values of a row side by side
            some_missing = bool(np.isnan(by_row).any())
            leaf = np.empty((n_trees, len(by_row)), dtype=np.intp)
            group = max(1, _WALK_CELLS // len(by_row))
            for first in range(0, n_trees, group):
                leaf[first : first + group] = self._leaves(self.root[first : first + group], by_row, some_missing)
            self.add_up(self.value, leaf, out[:, begin : begin + block])
        return out

    def _leaves(self, root: Indexes, by_row: FloatArray, some_missing: bool) -> Indexes:
        """Return the leaf (trees, rows) of each row (rows, D) in each tree, going down the trees level by level."""
        n, width = by_row.shape
        flat = by_row.reshape(-1)
        leaf = np.repeat(root, n)
        at, row = leaf, np.tile(np.arange(n) * width, len(root))
        active: Indexes | None = None  # the cells of ``leaf`` that ``at`` stands for; None is all of them
        while True:
            moving = self.inner.take(at)
            count = np.count_nonzero(moving)
            if count < 0.75 * len(at):  # leaves stay where they are: no need to look at each step
                if active is None:
                    leaf, active = at, np.flatnonzero(moving)
                else:
                    leaf[active] = at
                    active = active[moving]
                at, row = at[moving], row[moving]
            if not count:
                return leaf.reshape(len(root), n)
            value = flat.take(row + self.feature.take(at))
            right = value > self.threshold.take(at)
            if some_missing:
                right |= np.isnan(value) & self.missing_right.take(at)
            at = self.child.take(2 * at + right)

    def leaf_ranges(self) -> tuple[Indexes, Indexes, Indexes]:
        """Return for each node (N,) its tree, its first leaf, numbered from left to right in the tree, and how many."""
        tree, first = np.zeros((2, len(self.inner)), dtype=np.intp)
        count = np.where(self.inner, 0, 1)
        tree[self.root] = np.arange(len(self.root))
        levels, level = [], self.root[self.inner[self.root]]
        while len(level):
            levels.append(level)
            below = np.concatenate([self.child[2 * level], self.child[2 * level + 1]])
            tree[below] = np.tile(tree[level], 2)
            level = below[self.inner[below]]
        for level in reversed(levels):
            count[level] = count[self.child[2 * level]] + count[self.child[2 * level + 1]]
        for level in levels:
            left, right = self.child[2 * level], self.child[2 * level + 1]
            first[left] = first[level]
            first[right] = first[level] + count[left]
        return tree, first, count

    def add_up(self, value: FloatArray, leaf: Indexes, out: FloatArray) -> None:
        """Put the scores (K, rows) of the leaves (T, rows) into ``out``: ``value`` has V numbers for each leaf."""
        if self.n_values > 1:
            first = leaf * self.n_values
            for k in range(self.n_values):
                self._total(k, value.take(first + k), out[k])
            return
        values = value.take(leaf)
        for k, of_output in enumerate(self.slices):
            self._total(k, values[of_output], out[k])

    def _total(self, k: int, values: FloatArray, out: FloatArray) -> None:
        """Put the score (rows,) of output k into ``out``, adding up the values (trees, rows) strictly in tree order."""
        out[:] = in_order(values)
        if self.mean and len(values):
            out /= len(values)
        out += self.base[k]


def in_order(values: FloatArray) -> FloatArray:
    """Return the sums (rows,) of values (trees, rows), adding tree after tree: the same bits for any number of rows.

    numpy adds whole rows of a matrix one after the other, but would add up a single column in pairs.
    """
    if values.shape[1] > 1 or len(values) == 0:
        return np.asarray(np.add.reduce(values, axis=0, initial=0.0))
    return np.add.accumulate(values[:, 0])[-1:] + 0.0
