"""Nodes of trees level by level, as contributions are made: all of a level at once, in whichever tree they stand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from trainyard.model.tree_nodes import Indexes, Nodes


@dataclass(frozen=True)
class Levels:
    """The n nodes of some trees, level by level: of each level first all left children, then all right ones.

    Shapes: node (n,), the index in Nodes; parent (n,), its place here; same (n,), the place of the nearest node above
    that the same feature split off, the root where there is none; feature (n,), that feature, -1 at roots; is_right
    (n,); tree (n,), the number of its tree; unique (n,), how many features are on its path. ``bounds`` are the levels'.
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
    def of(cls, nodes: Nodes, roots: Indexes) -> Levels:
        """Return the trees that have these roots, by their indexes in ``nodes``."""
        level, begin = roots, 0
        levels, parents, bounds = [roots], [np.arange(len(roots))], [0, len(roots)]
        while True:
            inner = np.flatnonzero(nodes.inner[level])
            if not len(inner):
                break
            parents.append(np.tile(begin + inner, 2))
            begin = bounds[-1]
            level = nodes.child.reshape(-1, 2)[level[inner]].T.reshape(-1)
            levels.append(level)
            bounds.append(begin + len(level))
        node, parent = np.concatenate(levels), np.concatenate(parents)
        feature = nodes.feature[node[parent]]
        feature[: len(roots)] = -1
        same = _same(parent, feature, len(roots))
        tree, unique, is_right = parent.copy(), np.zeros_like(parent), np.zeros(len(parent), dtype=np.bool_)
        for begin, end in pairwise(bounds[1:]):
            above = parent[begin:end]
            is_right[(begin + end) // 2 : end] = True
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
