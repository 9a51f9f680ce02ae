"""Tree ensembles as the kernels read them: flat node arrays, and the walk down all trees at once.

:meth:`Nodes.of` is the only place that reads the arrays of the DTO. The walk needs no more than these arrays, which
makes it right for a few rows; for many, :mod:`trainyard.model.tree_tables` is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model.ensembles import CATEGORICAL, LEAF, MISSING_LEFT
from trainyard.model.tree_shape import shape_of

if TYPE_CHECKING:
    from trainyard.model.dto import FloatArray
    from trainyard.model.ensembles import TreeEnsemble

Indexes = npt.NDArray[np.intp]

_CODE_BITS = 32  # of a category's code
_WALK_CELLS = 16_384  # rows x trees at once: what stays in the second-level cache
_WALK_ROWS = 512  # at most: enough for the trees at work to stay in the first-level cache
_LEAF_CELLS = 524_288  # rows x trees whose leaves are kept until they are added up


@dataclass(frozen=True)
class Categories:
    """The sets of categories that nodes send left. Shapes: at (N,), which nodes have one; sets (N,), its number there;
    keys (C,), set number and code in one, rising.
    """

    at: npt.NDArray[np.bool_]
    sets: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int64]

    @classmethod
    def of(cls, trees: TreeEnsemble) -> Categories:
        """Return those of an ensemble that has passed the checks."""
        node = trees.node.numpy
        at = (node & CATEGORICAL) != 0
        at_inner = np.flatnonzero((node & LEAF) == 0)
        threshold = _spread(trees.threshold.numpy, at_inner, node.size, np.float64)
        starts = trees.category_start.numpy.astype(np.int64)
        sizes = np.diff(starts, append=len(trees.category))
        keys = _key(np.repeat(np.arange(len(starts)), sizes), trees.category.numpy.astype(np.int64))
        return cls(at, np.where(at, threshold, 0).astype(np.int64), keys)

    def hold(self, at: Indexes, value: FloatArray) -> npt.NDArray[np.bool_]:
        """Return whether the sets of nodes ``at`` hold the values, rounded up; NaN is in none."""
        whole = np.ceil(np.nan_to_num(value, nan=np.inf))
        known = (whole >= -(1 << (_CODE_BITS - 1))) & (whole < 1 << (_CODE_BITS - 1))
        wanted = _key(self.sets.take(at), np.where(known, whole, 0.0).astype(np.int64))
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.asarray((self.keys.take(place) == wanted) & known)

    @property
    def asked(self) -> int:
        """How many codes the nodes' sets have, counted for each node."""
        sizes = np.bincount(self.keys >> _CODE_BITS)
        return int(sizes[self.sets[self.at]].sum())

    def codes(self, index: int) -> npt.NDArray[np.int64]:
        """Return the codes of the set of node ``index``."""
        first = int(self.sets[index]) << _CODE_BITS
        begin, end = np.searchsorted(self.keys, [first, first + (1 << _CODE_BITS)])
        return self.keys[begin:end] - first - (1 << (_CODE_BITS - 1))


def _key(number: npt.NDArray[np.int64], code: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return (number << _CODE_BITS) + code + (1 << (_CODE_BITS - 1))


@dataclass(frozen=True)
class Nodes:
    """T trees, sorted by output, and their N nodes in the order of the file: a left child follows its parent.

    Shapes: root (T,); child (2 N,), the left and the right child of node i at 2 i and 2 i + 1, i itself at a leaf;
    inner (N,), whether the node has children; feature, threshold and missing_right (N,); value (N x V,), the V
    values of node i from V i on; base (K,); leaf_cover (leaves,) or None. The trees ``slices[k]`` add to output k; if
    V > 1, all add to each. ``categories`` is None where no split is categorical.
    """

    root: Indexes
    child: Indexes
    inner: npt.NDArray[np.bool_]
    feature: Indexes
    threshold: FloatArray
    missing_right: npt.NDArray[np.bool_]
    categories: Categories | None
    value: FloatArray
    leaf_cover: npt.NDArray[np.float32] | None
    base: FloatArray
    n_values: int
    slices: list[slice]
    mean: bool

    @classmethod
    def of(cls, trees: TreeEnsemble) -> Nodes:
        """Return the nodes of an ensemble that has passed the checks."""
        base, outputs = trees.base.numpy, trees.tree_output.numpy
        n_values = trees.value.shape[1]
        order = np.argsort(outputs, kind="stable")
        bounds = np.searchsorted(outputs[order], np.arange(len(base) + 1)).tolist()
        slices = [slice(a, b) for a, b in pairwise(bounds)]
        if n_values > 1:
            slices = [slice(0, len(order))] * len(base)
        node = trees.node.numpy
        inner = (node & LEAF) == 0
        roots, right = shape_of(inner)
        itself = np.arange(len(inner))
        child = np.empty((len(inner), 2), dtype=np.intp)
        np.add(itself, inner, out=child[:, 0])
        child[:, 1] = np.where(inner, right, itself)
        at_inner, at_leaf = np.flatnonzero(inner), np.flatnonzero(~inner)
        value = np.zeros((len(inner), n_values))
        value[at_leaf] = trees.value.numpy
        return cls(
            root=roots[order],
            child=child.reshape(-1),
            inner=inner,
            feature=_spread(trees.feature.numpy, at_inner, inner.size, np.intp),
            threshold=_spread(trees.threshold.numpy, at_inner, inner.size, np.float64),
            missing_right=(node & MISSING_LEFT) == 0,
            categories=Categories.of(trees) if len(trees.category_start) else None,
            value=value.reshape(-1),
            leaf_cover=None if trees.cover is None else trees.cover.numpy,
            base=base,
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

    def scores_of_one(self, row: list[float]) -> list[float]:
        """Return the scores (K,) of one row (D,) of the matrix."""
        scores: list[float] = self.scores(np.array(row)[:, None])[:, 0].tolist()
        return scores

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
            at = self.child.take(2 * at + self.go_right(at, value, some_missing))

    def go_right(self, at: Indexes, value: FloatArray, some_missing: bool = True) -> npt.NDArray[np.bool_]:
        """Return whether inner nodes ``at`` send these values to the right; all three of one shape."""
        right = value > self.threshold.take(at)
        if self.categories is not None:
            np.copyto(right, ~self.categories.hold(at, value), where=self.categories.at.take(at))
        if some_missing:
            np.copyto(right, self.missing_right.take(at), where=np.isnan(value))
        return np.asarray(right)

    @cached_property
    def cover(self) -> FloatArray | None:
        """The weight of the training rows that came to each node (N,): what came to the leaves below it."""
        return None if self.leaf_cover is None else _covers(self.leaf_cover, self.inner, self.child.reshape(-1, 2))

    @property
    def leaves_before(self) -> Indexes:
        """How many leaves of all trees come before each node (N,), in the order of the file."""
        return np.cumsum(~self.inner) - ~self.inner

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

    def sum_of_one(self, value: FloatArray, leaf: Indexes) -> list[float]:
        """Return the scores (K,) of one row's leaves, of T trees and perhaps some more: the bits of :meth:`add_up`."""
        if self.n_values > 1:
            first = leaf[: len(self.root)] * self.n_values
            return [self._total_of_one(k, value.take(first + k)) for k in range(self.n_values)]
        values = value.take(leaf)
        return [self._total_of_one(k, values[of_output]) for k, of_output in enumerate(self.slices)]

    def _total_of_one(self, k: int, values: FloatArray) -> float:
        total: float = np.add.accumulate(values).item(-1) + 0.0 if len(values) else 0.0
        if self.mean and len(values):
            total /= len(values)
        return total + self._bases[k]

    @cached_property
    def _bases(self) -> list[float]:
        bases: list[float] = self.base.tolist()
        return bases

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


def _spread(values: npt.NDArray[Any], at_inner: Indexes, n_nodes: int, dtype: Any) -> Any:
    """Return the values (I,) of inner nodes as an array (N,), 0 at leaves."""
    out = np.zeros(n_nodes, dtype=dtype)
    out[at_inner] = values
    return out


def _covers(of_leaves: npt.NDArray[np.float32], inner: npt.NDArray[np.bool_], child: Indexes) -> FloatArray:
    """Return the cover of every node (N,): that of the leaves below it, added up level by level."""
    cover = np.zeros(len(inner))
    cover[~inner] = of_leaves
    left, right = child[:, 0], child[:, 1]
    level = np.flatnonzero(inner)
    is_child = np.zeros(len(inner), dtype=np.bool_)
    is_child[left[level]] = is_child[right[level]] = True
    levels = []
    level = level[~is_child[level]]
    while len(level):
        levels.append(level)
        below = np.concatenate([left[level], right[level]])
        level = below[inner[below]]
    for level in reversed(levels):
        cover[level] = cover[left[level]] + cover[right[level]]
    return cover


def arrays_of_version_1(trees: TreeEnsemble) -> dict[str, npt.NDArray[Any]]:
    """Return the node arrays of trees without categories as version 1 of the format has them."""
    nodes = Nodes.of(trees)
    child = nodes.child.reshape(-1, 2)
    leaf = ~nodes.inner
    return {
        "tree_start": np.sort(nodes.root),
        "feature": np.where(leaf, -1, nodes.feature),
        "threshold": nodes.threshold,
        "left": np.where(leaf, -1, child[:, 0]),
        "right": np.where(leaf, -1, child[:, 1]),
        "default_left": nodes.inner & ~nodes.missing_right,
        "value": nodes.value.reshape(-1, nodes.n_values),
        "tree_output": trees.tree_output.numpy,
    }
