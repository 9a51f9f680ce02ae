"""Path-dependent Shapley values of tree ensembles: Lundberg, Erion and Lee (2018), what libraries call TreeSHAP.

A coalition S of features decides at the nodes that split on one of S as the row does; at the others the tree answers
with both children, weighted by their covers (the training weight that came by). For one leaf of value v whose path
meets the features 1 .. d, let o_i be 1 where the row meets all of i's conditions on the path, else 0, and z_i the
product of the cover shares on the path where i was split on. The weight of a coalition of s of the other d - 1 features
is s! (d - 1 - s)! / d!, which is the integral of t^s (1 - t)^(d - 1 - s) from 0 to 1, so that the leaf contributes

    phi_i = v (o_i - z_i) * integral of prod_{j != i} F_j(t) dt,    F_j(t) = t o_j + (1 - t) z_j.

The integrand is a polynomial of degree d - 1: the Gauss-Legendre rule of ceil(d / 2) points is exact (the idea of
Linear TreeSHAP, Yu et al. 2022, in another basis). All numbers are positive but v and o - z, so none cancels another.

The product of the F grows along a path and is the same for all leaves below, so one pass down and one up do for all
leaves: at a node c, G is the sum of v * prod F over its leaves, and with H = (o - z) / F the edge to c adds
G (H_c - H_a) to its feature, where a is the next node above c on the path that was split off by the same feature. In
(o_c, o_a) a node has but three states: F_c / F_a and H_c - H_a come from tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainyard.errors import ServiceError
from trainyard.model.explaining.quadrature import quadrature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.model.dto import FloatArray
    from trainyard.model.tree_nodes import Indexes, Nodes

_GROUP_CELLS = 8_192  # nodes x points of the quadrature that are worked on at once
_BLOCK_CELLS = 131_072  # these x rows: what stays in the second-level cache
# measured on one core, rounded up: a node at a point; a node, and a level, whatever the points at once
_CELL_SECONDS, _NODE_SECONDS, _LEVEL_SECONDS = 20e-9, 50e-9, 30e-6
#: Of one tree. A row takes some 110 bytes for each node of the largest: 56 MiB.
MOST_NODES = 1 << 19


class TreeContributions:
    """An ensemble ready to be explained; building it costs once, threads may share it.

    Attributes:
        base: the mean score by cover, (K,).
    """

    def __init__(self, nodes: Nodes, cover: FloatArray) -> None:
        """Take the nodes and, for each (N,), the training weight that reached it.

        Raises:
            ServiceError: ``cannot_explain``, a tree has more than MOST_NODES.
        """
        self._nodes = nodes
        self._groups: list[tuple[int, _Group]] = []  # each with its first output
        n_outputs = len(nodes.base)
        total = np.zeros(n_outputs)
        for k, trees in enumerate(nodes.slices[: 1 if nodes.n_values > 1 else n_outputs]):
            for group in _groups(nodes, cover, nodes.root[trees]):
                self._groups.append((k, group))
                total[k : k + nodes.n_values] += group.base
        self._factors = np.array([1.0 / max(1, trees.stop - trees.start) for trees in nodes.slices])
        if not nodes.mean:
            self._factors[:] = 1.0
        self.base: FloatArray = nodes.base + total * self._factors

    def seconds(self, n_outputs: int) -> float:
        """Return about how long a row takes, the contributions to so many outputs."""
        taken = [0.0] * len(self.base)
        for k, group in self._groups:
            taken[k] += group.seconds * min(n_outputs, self._nodes.n_values)
        return sum(sorted(taken)[-n_outputs:])

    def of(self, x: FloatArray, outputs: Sequence[int] | None = None) -> FloatArray:
        """Return the contributions (K, D, rows) of a matrix (D, rows), or those to some outputs only."""
        outputs = range(len(self.base)) if outputs is None else outputs
        out = np.zeros((len(outputs), *x.shape))
        some_missing = bool(np.isnan(x).any())
        for k, group in self._groups:
            # of the values of a group's leaves, which add to which of the outputs
            values = [(output - k, at) for at, output in enumerate(outputs) if 0 <= output - k < self._nodes.n_values]
            if not values or not len(group.split):  # leaves that need no feature
                continue
            at_once, block = group.at_once, group.rows_at_once
            for first in range(0, group.n_points, at_once):
                tables = group.tables(slice(first, first + at_once))
                for begin in range(0, x.shape[1], block):
                    rows = slice(begin, begin + block)
                    asked = x[:, rows][self._nodes.feature[group.split]]
                    states = group.states(self._nodes.go_right(group.split[:, None], asked, some_missing))
                    group.add(states, tables, [(group.value[value], out[at, :, rows]) for value, at in values])
        out *= self._factors[list(outputs), None, None]
        return out


@dataclass(frozen=True)
class _Group:
    """Some trees, their n nodes level by level, the children of a node side by side.

    Shapes: node (n,), the index in Nodes; parent (n,), its place here; same (n,), the place of the nearest node above
    that the same feature split off, the root where there is none; left_out (n,), z of the node's edge, merged with that
    of ``same``; is_right (n,); split (I,), the inner nodes in Nodes; decision (n,), the number among them of the node's
    parent; value (V, n), 0 at inner nodes; base (V,), its mean by cover. ``levels`` are the bounds of the levels;
    ``by_feature`` (n - roots,) are places sorted by the feature that splits them off, ``features`` (F,) which there are
    and ``starts`` (F,) where each begins. ``n_points`` are those of the quadrature.
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

    @property
    def at_once(self) -> int:
        """How many points are worked on at once: the integral is their sum, and those of a large tree are many."""
        return min(self.n_points, max(1, _BLOCK_CELLS // len(self.node)))

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

    def tables(self, points: slice) -> tuple[FloatArray, FloatArray]:
        """Return F_c / F_a and w (H_c - H_a) for the three states of each node, both (3 n, points), at some points."""
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
        inside = goes_right[self.decision] == self.is_right[:, None]
        inside[: self.levels[1]] = True
        for begin, end in pairwise(self.levels[1:]):
            inside[begin:end] &= inside[self.same[begin:end]]
        return np.asarray(3 * np.arange(len(self.node))[:, None] + inside + inside[self.same])

    def add(
        self, states: Indexes, tables: tuple[FloatArray, FloatArray], outputs: Sequence[tuple[FloatArray, FloatArray]]
    ) -> None:
        """Add for each output, given as the values of the nodes (n,), the contributions of these trees (D, rows)."""
        factors, differences = tables
        n_rows, n_points = states.shape[1], factors.shape[1]
        product = factors.take(states, axis=0)  # (n, rows, points)
        for begin, end in pairwise(self.levels[1:]):
            pairs = product[begin:end].reshape(-1, 2, n_rows, n_points)
            pairs *= product[self.parent[begin:end:2], None]
        difference = differences.take(states[self.by_feature], axis=0)
        for value, out_of_value in outputs:
            below = product * value[:, None, None]
            for begin, end in reversed(list(pairwise(self.levels[1:]))):
                below[self.parent[begin:end:2]] = below[begin:end:2] + below[begin + 1 : end : 2]
            each = below[self.by_feature]
            each *= difference
            summed = np.add.reduceat(each.reshape(len(each), -1), self.starts, axis=0)
            out_of_value[self.features] += summed.reshape(-1, n_rows, n_points).sum(axis=2)


def _groups(nodes: Nodes, cover: FloatArray, roots: Indexes) -> list[_Group]:
    """Return the trees in groups of about _GROUP_CELLS, those that need as many points together."""
    if not len(roots):
        return []
    whole = _Levels.of(nodes, roots)
    size = np.bincount(whole.tree)
    if size.max() > MOST_NODES:
        raise ServiceError(
            "cannot_explain",
            f"a tree of the version has {size.max():,} nodes, {MOST_NODES:,} can be explained; train with fewer leaves",
        )
    most = np.zeros(len(roots), dtype=np.intp)
    np.maximum.at(most, whole.tree, whole.unique)
    points = np.maximum(1, (most + 1) // 2)
    groups = []
    for n_points in np.unique(points).tolist():
        trees = np.flatnonzero(points == n_points)
        number = (np.cumsum(size[trees]) - 1) * n_points // _GROUP_CELLS
        parts = np.split(trees, np.flatnonzero(np.diff(number)) + 1)
        groups += [_group(nodes, cover, roots[part], n_points) for part in parts]
    return groups


@dataclass(frozen=True)
class _Levels:
    """The nodes of some trees, level by level: the first fields of _Group; ``tree`` (n,); ``unique`` (n,), the number
    of features on the path.
    """

    node: Indexes
    parent: Indexes
    same: Indexes
    feature: Indexes
    is_right: npt.NDArray[np.bool_]
    tree: Indexes
    unique: Indexes
    bounds: list[int]

    @classmethod
    def of(cls, nodes: Nodes, roots: Indexes) -> _Levels:
        level, begin = roots, 0
        levels, parents, bounds = [roots], [np.arange(len(roots))], [0, len(roots)]
        while True:
            inner = np.flatnonzero(nodes.inner[level])
            if not len(inner):
                break
            parents.append(np.repeat(begin + inner, 2))
            begin = bounds[-1]
            level = nodes.child.reshape(-1, 2)[level[inner]].reshape(-1)
            levels.append(level)
            bounds.append(begin + len(level))
        node, parent = np.concatenate(levels), np.concatenate(parents)
        feature = nodes.feature[node[parent]]
        feature[: len(roots)] = -1
        is_right = (np.arange(len(node)) - len(roots)) % 2 == 1
        same = _same(parent, feature, len(roots))
        tree, unique = parent.copy(), np.zeros_like(parent)
        for begin, end in pairwise(bounds[1:]):
            above = parent[begin:end]
            tree[begin:end] = tree[above]
            unique[begin:end] = unique[above] + (feature[same[begin:end]] < 0)
        return cls(node, parent, same, feature, is_right, tree, unique, bounds)


def _same(parent: Indexes, feature: Indexes, n_roots: int) -> Indexes:
    """Return the nearest node above each that its feature split off, or its root."""
    same = parent.copy()
    climbing = np.arange(n_roots, len(parent))
    while len(climbing):
        at = same[climbing]
        on = (feature[at] != feature[climbing]) & (feature[at] >= 0)
        climbing = climbing[on]
        same[climbing] = parent[at[on]]
    return same


def _group(nodes: Nodes, cover: FloatArray, roots: Indexes, n_points: int) -> _Group:
    at = _Levels.of(nodes, roots)
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
    return _Group(
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
    )
