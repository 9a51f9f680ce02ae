"""Tree ensembles on a feature-major matrix, exactly: the same leaf and the same order of additions for any batch.

Two kernels find the leaves. Small trees (at most 64 leaves) use bit tables: for every feature and every interval
between its thresholds, one 64-bit mask per tree of the leaves that remain possible; a row ANDs one table row per
feature, and the lowest bit that is left is its leaf. Larger trees are walked level by level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainyard.model.checks import levels

if TYPE_CHECKING:
    from trainyard.model.dto import FloatArray, TreeEnsemble

_MAX_TABLE_BYTES = 64 * 1024 * 1024
_BLOCK_CELLS = 65_536  # rows x trees at once: what stays in the second-level cache
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)
#: a de Bruijn sequence: (1 << i) * it >> 58 is another number for each i
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_SHIFT = np.uint64(58)
_HASH_OF_BIT = ((_ONE << np.arange(64, dtype=np.uint64)) * _DE_BRUIJN) >> _SHIFT


class TreeKernel:
    """An ensemble made ready to run; trees are sorted by output so that each output is one slice."""

    def __init__(self, trees: TreeEnsemble) -> None:
        self._trees = trees
        n_outputs = len(trees.base)
        self._order = np.argsort(trees.tree_output, kind="stable")
        self._vector = trees.value.shape[1] == n_outputs and n_outputs > 1
        bounds = np.searchsorted(trees.tree_output[self._order], np.arange(n_outputs + 1))
        self._slices = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        self._tables = _BitTables.build(trees)

    def scores(self, x: FloatArray) -> FloatArray:
        """Return the scores (K, rows) of a matrix (D, rows)."""
        n = x.shape[1]
        out = np.empty((len(self._trees.base), n))
        values_per_tree = self._trees.value.shape[1]
        block = max(16, _BLOCK_CELLS // (len(self._trees.tree_start) * values_per_tree))
        for begin in range(0, n, block):
            part = x[:, begin : begin + block]
            leaves = self._walk(part) if self._tables is None else self._tables.leaves(part)
            out[:, begin : begin + block] = self._sum(leaves)
        return out

    def _sum(self, leaves: npt.NDArray[np.intp]) -> FloatArray:
        """Add up the values of the leaves (rows, T) strictly in tree order: shape (K, rows)."""
        trees = self._trees
        if self._vector:
            total = np.cumsum(trees.value[leaves], axis=1)[:, -1, :].T
            counts = np.full(len(trees.base), len(trees.tree_start))
        else:
            values = trees.value[:, 0][leaves[:, self._order]] if len(self._slices) > 1 else trees.value[:, 0][leaves]
            total = np.zeros((len(trees.base), len(leaves)))
            for k, (begin, end) in enumerate(self._slices):
                if end > begin:
                    # cumsum adds one after the other; sum would pair them differently for other shapes
                    total[k] = np.cumsum(values[:, begin:end], axis=1)[:, -1]
            counts = np.array([max(1, end - begin) for begin, end in self._slices])
        if trees.aggregation == "mean":
            total = total / counts[:, None]
        return np.asarray(trees.base[:, None] + total)

    def _walk(self, x: FloatArray) -> npt.NDArray[np.intp]:
        """Return the leaf (rows, T) of each row in each tree, going down all trees level by level."""
        trees = self._trees
        n, n_trees = x.shape[1], len(trees.tree_start)
        node = np.tile(trees.tree_start.astype(np.intp), n)
        row = np.repeat(np.arange(n), n_trees)
        active = np.flatnonzero(trees.feature[node] >= 0)
        while len(active):
            at = node[active]
            value = x[trees.feature[at], row[active]]
            go_left = (value <= trees.threshold[at]) | (np.isnan(value) & (trees.default_left[at] == 1))
            at = np.where(go_left, trees.left[at], trees.right[at])
            node[active] = at
            active = active[trees.feature[at] >= 0]
        return node.reshape(n, n_trees)


@dataclass(frozen=True)
class _BitTables:
    """For each used feature: its thresholds, and the masks (intervals + 1, T), the last row for missing values."""

    features: list[int]
    thresholds: list[FloatArray]
    masks: list[npt.NDArray[np.uint64]]
    leaf_of_hash: npt.NDArray[np.intp]
    first_slot: npt.NDArray[np.intp]

    @classmethod
    def build(cls, trees: TreeEnsemble) -> _BitTables | None:
        """Return the tables, or None where a tree has more than 64 leaves or the tables would be too large."""
        n_trees, n_nodes = len(trees.tree_start), len(trees.feature)
        tree_of = np.repeat(np.arange(n_trees), np.diff(np.append(trees.tree_start, n_nodes)))
        is_leaf = trees.feature < 0
        if np.bincount(tree_of[is_leaf], minlength=n_trees).max() > 64:
            return None
        inner = np.flatnonzero(~is_leaf)
        inner = inner[np.argsort(trees.feature[inner], kind="stable")]
        features, begins = np.unique(trees.feature[inner], return_index=True)
        nodes_of = np.split(inner, begins[1:]) if len(features) else []
        thresholds = [np.unique(trees.threshold[nodes]) for nodes in nodes_of]
        if sum(len(cuts) + 2 for cuts in thresholds) * n_trees * 8 > _MAX_TABLE_BYTES:
            return None
        first, count = _leaf_ranges(trees)
        keep = np.full(n_nodes, _ALL)  # the leaves that a step to the right leaves possible
        keep[inner] = ~(_low_bits(count[trees.left[inner]]) << first[trees.left[inner]])
        masks = []
        for nodes, cuts in zip(nodes_of, thresholds, strict=True):
            table = np.full((len(cuts) + 2, n_trees), _ALL)
            # interval i is above the thresholds 0 .. i-1: x > threshold goes right
            np.bitwise_and.at(table, (np.searchsorted(cuts, trees.threshold[nodes]) + 1, tree_of[nodes]), keep[nodes])
            np.bitwise_and.accumulate(table[:-1], axis=0, out=table[:-1])
            table[-1] = _ALL
            blind = nodes[trees.default_left[nodes] == 0]
            np.bitwise_and.at(table, (np.full(len(blind), len(cuts) + 1), tree_of[blind]), keep[blind])
            masks.append(table)
        leaf_of_hash = np.zeros(n_trees * 64, dtype=np.intp)
        leaf = np.flatnonzero(is_leaf)
        leaf_of_hash[tree_of[leaf] * 64 + _HASH_OF_BIT[first[leaf].astype(np.intp)].astype(np.intp)] = leaf
        return cls(features.tolist(), thresholds, masks, leaf_of_hash, np.arange(n_trees, dtype=np.intp) * 64)

    def leaves(self, x: FloatArray) -> npt.NDArray[np.intp]:
        """Return the leaf (rows, T) of each row in each tree."""
        possible = np.full((x.shape[1], len(self.first_slot)), _ALL)
        for feature, cuts, table in zip(self.features, self.thresholds, self.masks, strict=True):
            value = x[feature]
            interval = np.searchsorted(cuts, value)  # the number of thresholds below the value
            interval[np.isnan(value)] = len(cuts) + 1
            possible &= table[interval]
        lowest = possible & (~possible + _ONE)
        slot = ((lowest * _DE_BRUIJN) >> _SHIFT).view(np.int64)
        slot += self.first_slot
        return self.leaf_of_hash[slot]


def _low_bits(count: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return masks with the ``count`` (0..63) lowest bits set; the left of two children never has all 64 leaves."""
    return np.asarray((_ONE << count) - _ONE)


def _leaf_ranges(trees: TreeEnsemble) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return for each node its first leaf, numbered from left to right in its tree, and how many it has."""
    count = np.where(trees.feature < 0, 1, 0).astype(np.uint64)
    first = np.zeros(len(trees.feature), dtype=np.uint64)
    inner = [level[trees.feature[level] >= 0] for level in levels(trees)]
    for nodes in reversed(inner):
        count[nodes] = count[trees.left[nodes]] + count[trees.right[nodes]]
    for nodes in inner:
        first[trees.left[nodes]] = first[nodes]
        first[trees.right[nodes]] = first[nodes] + count[trees.left[nodes]]
    return first, count
