"""Trees in groups that fit the cache, and the contributions of the trees of a group; what for says :mod:`.trees`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainyard.errors import ServiceError
from trainyard.model.explaining.quadrature import quadrature
from trainyard.model.explaining.tree_levels import Levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.model.dto import FloatArray
    from trainyard.model.tree_nodes import Indexes, Nodes

    Tables = tuple[FloatArray, FloatArray]

_GROUP_CELLS = 8_192  # nodes x points of the quadrature that are worked on at once
_BLOCK_CELLS = 131_072  # these x rows: what stays in the second-level cache
# measured on one core, rounded up: a node at a point; a node, and a level, whatever the points at once
_CELL_SECONDS, _NODE_SECONDS, _LEVEL_SECONDS = 20e-9, 50e-9, 30e-6
#: Of one tree. A row takes some 110 bytes for each node of the largest: 56 MiB.
MOST_NODES = 1 << 19


@dataclass(frozen=True)
class Group:
    """Some trees, their n nodes level by level as in :class:`Levels`.

    Shapes: node (n,), the index in Nodes; parent (n,), its place here; same (n,), the place of the nearest node above
    that the same feature split off, the root where there is none; left_out (n,), z of the node's edge, merged with that
    of ``same``; is_right (n,); split (I,), the inner nodes in Nodes; decision (n,), the number among them of the node's
    parent; value (V, n), 0 at inner nodes; base (V,), its mean by cover. ``levels`` are the bounds of the levels;
    ``by_feature`` (n - roots,) are places sorted by the feature that splits them off, ``features`` (F,) which there are
    and ``starts`` (F,) where each begins. ``n_points`` are those of the quadrature. Where ``keeps_tables`` is set, what
    they make of the nodes is found out once: 48 bytes for each node and point.
    """

    node: Indexes
    parent: Indexes
    same: Indexes
    left_out: FloatArray
    is_right: npt.NDArray[np.bool_]
    split: Indexes
    decision: Indexes
    value: FloatArray
    base: FloatArray
    levels: list[int]
    by_feature: Indexes
    features: Indexes
    starts: Indexes
    n_points: int
    keeps_tables: bool

    @property
    def at_once(self) -> int:
        """How many points are worked on at once: the integral is their sum, and those of a large tree are many."""
        return self.n_points if self.keeps_tables else min(self.n_points, max(1, _BLOCK_CELLS // len(self.node)))

    @property
    def rows_at_once(self) -> int:
        """How many rows are worked on at once."""
        return max(1, _BLOCK_CELLS // (len(self.node) * self.at_once))

    @property
    def seconds(self) -> float:
        """About how long a row takes among many, of one output."""
        times = -(-self.n_points // self.at_once)
        once = len(self.node) * _NODE_SECONDS + len(self.levels) * _LEVEL_SECONDS / self.rows_at_once
        return len(self.node) * self.n_points * _CELL_SECONDS + times * once

    def tables(self, points: slice) -> Tables:
        """Return F_c / F_a and w (H_c - H_a) for the three states of each node, both (3 n, points), at some points."""
        return self._all_tables if self.keeps_tables else self._tables(points)

    @cached_property
    def _all_tables(self) -> Tables:
        return self._tables(slice(0, self.n_points))

    def _tables(self, points: slice) -> Tables:
        t, w = (array[points] for array in quadrature(self.n_points))
        mine, above = self.left_out[:, None], self.left_out[self.same][:, None]
        inside, inside_above = t + (1.0 - t) * mine, t + (1.0 - t) * above
        outside = (1.0 - t) * mine
        h_outside = np.where(mine > 0, -1.0 / (1.0 - t), 0.0)  # (0 - z) / ((1 - t) z)
        h_above = (1.0 - above) / inside_above
        factors, differences = np.zeros((2, len(self.node), 3, len(t)))
        factors[:, 0] = mine / np.where(above > 0, above, 1.0)
        factors[:, 1] = outside / inside_above
        factors[:, 2] = inside / inside_above
        # in state 0 both are outside: nothing is left of the difference
        differences[:, 1] = w * (h_outside - h_above)
        differences[:, 2] = w * ((1.0 - mine) / inside - h_above)
        return factors.reshape(-1, len(t)), differences.reshape(-1, len(t))

    def states(self, goes_right: npt.NDArray[np.bool_]) -> Indexes:
        """Return for each node and row (n, rows) the row of the tables, from where inner nodes send rows (I, rows)."""
        inside = goes_right.take(self.decision, axis=0) == self.is_right[:, None]
        inside[: self.levels[1]] = True
        for begin, end in pairwise(self.levels[1:]):
            inside[begin:end] &= inside.take(self.same[begin:end], axis=0)
        return np.asarray(3 * np.arange(len(self.node))[:, None] + inside + inside.take(self.same, axis=0))

    def add(self, states: Indexes, tables: Tables, outputs: Sequence[tuple[FloatArray, FloatArray]]) -> None:
        """Add for each output, given as the values of the nodes (n,), the contributions of these trees (D, rows)."""
        factors, differences = tables
        n_points = factors.shape[1]
        width = states.shape[1] * n_points  # of a node: its points for each row
        product = factors.take(states, axis=0).reshape(-1, width)
        levels = list(pairwise(self.levels[1:]))
        for begin, end in levels:
            product[begin:end] *= product.take(self.parent[begin:end], axis=0)
        difference = differences.take(states, axis=0)  # (n, rows, points)
        for value, out_of_value in outputs:
            below = product * value[:, None]
            for begin, end in reversed(levels):
                middle = (begin + end) // 2  # left children come first
                below[self.parent[begin:middle]] = below[begin:middle] + below[middle:end]
            each = np.einsum("nrp,nrp->nr", below.reshape(difference.shape), difference)
            out_of_value[self.features] += np.add.reduceat(each.take(self.by_feature, axis=0), self.starts, axis=0)


def groups(nodes: Nodes, cover: FloatArray, roots: Indexes) -> list[Group]:
    """Return trees, given by their roots, in groups of about _GROUP_CELLS: those that need as many points together.

    Raises:
        ServiceError: ``cannot_explain``, a tree has more than MOST_NODES.
    """
    if not len(roots):
        return []
    size, points = _sizes_and_points(nodes, roots)
    if size.max() > MOST_NODES:
        raise ServiceError(
            "cannot_explain",
            f"a tree of the version has {size.max():,} nodes, {MOST_NODES:,} can be explained; train with fewer leaves",
        )
    found = []
    for n_points in np.unique(points).tolist():
        trees = np.flatnonzero(points == n_points)
        number = (np.cumsum(size[trees]) - 1) * n_points // _GROUP_CELLS
        parts = np.split(trees, np.flatnonzero(np.diff(number)) + 1)
        found += [_group(nodes, cover, roots[part], n_points) for part in parts]
    return found


def large_groups(nodes: Nodes, cover: FloatArray, roots: Indexes) -> list[Group]:
    """Return trees in few groups that keep their tables; some trees get up to twice the points that they need.

    For one row there is little to do at each level of a group: it is the number of levels that counts.
    """
    if not len(roots):
        return []
    _, points = _sizes_and_points(nodes, roots)
    points = 1 << np.ceil(np.log2(points)).astype(np.intp)
    return [_group(nodes, cover, roots[points == n], n, keeps_tables=True) for n in np.unique(points).tolist()]


def _sizes_and_points(nodes: Nodes, roots: Indexes) -> tuple[Indexes, Indexes]:
    """Return for each tree (T,) how many nodes it has and how many points of the quadrature it needs."""
    whole = Levels.of(nodes, roots)
    most = np.zeros(len(roots), dtype=np.intp)
    np.maximum.at(most, whole.tree, whole.unique)
    return np.bincount(whole.tree), np.maximum(1, (most + 1) // 2)


def _group(nodes: Nodes, cover: FloatArray, roots: Indexes, n_points: int, *, keeps_tables: bool = False) -> Group:
    at = Levels.of(nodes, roots)
    node, parent, n_roots = at.node, at.parent, len(roots)
    whole = cover[node[parent]]
    # where no row came by at all, neither side is more likely
    share = np.where(whole > 0, cover[node] / np.where(whole > 0, whole, 1.0), 0.5)
    left_out, reached = np.ones((2, len(node)))
    for begin, end in pairwise(at.bounds[1:]):
        reached[begin:end] = reached[parent[begin:end]] * share[begin:end]
        left_out[begin:end] = left_out[at.same[begin:end]] * share[begin:end]
    is_inner = nodes.inner[node]
    number = np.cumsum(is_inner) - 1
    value = np.ascontiguousarray(nodes.value.reshape(-1, nodes.n_values)[node].T)
    by_feature = np.argsort(at.feature, kind="stable")[n_roots:]
    features, starts = np.unique(at.feature[by_feature], return_index=True)
    return Group(
        node=node,
        parent=parent,
        same=at.same,
        left_out=left_out,
        is_right=at.is_right,
        split=node[is_inner],
        decision=np.maximum(number[parent], 0),
        value=value,
        base=np.asarray(value @ reached),
        levels=at.bounds,
        by_feature=by_feature,
        features=features,
        starts=starts,
        n_points=n_points,
        keeps_tables=keeps_tables,
    )
