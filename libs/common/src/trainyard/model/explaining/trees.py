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

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from trainyard.model.explaining.tree_groups import Group, groups, large_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.model.dto import FloatArray
    from trainyard.model.tree_nodes import Nodes

_FEW_ROWS = 5  # that take less time in large groups whose tables are kept
_MOST_KEPT_CELLS = 175_000  # nodes x points of the usual groups; the tables of large ones then take at most 16 MiB


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
        self._nodes, self._cover = nodes, cover
        #: the trees of an output in groups, each with the first output that they add to
        self._roots = [nodes.root[trees] for trees in nodes.slices[: 1 if nodes.n_values > 1 else len(nodes.base)]]
        self._groups = [(k, group) for k, roots in enumerate(self._roots) for group in groups(nodes, cover, roots)]
        total = np.zeros(len(nodes.base))
        for k, group in self._groups:
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

    @cached_property
    def _groups_for_few(self) -> list[tuple[int, Group]]:
        """The trees in groups that take less time for few rows, where there is memory for what these keep."""
        if sum(len(group.node) * group.n_points for _, group in self._groups) > _MOST_KEPT_CELLS:
            return self._groups
        of_outputs = (large_groups(self._nodes, self._cover, roots) for roots in self._roots)
        return [(k, group) for k, found in enumerate(of_outputs) for group in found]

    def of(self, x: FloatArray, outputs: Sequence[int] | None = None) -> FloatArray:
        """Return the contributions (K, D, rows) of a matrix (D, rows), or those to some outputs only."""
        outputs = range(len(self.base)) if outputs is None else outputs
        out = np.zeros((len(outputs), *x.shape))
        some_missing = bool(np.isnan(x).any())
        for k, group in self._groups if x.shape[1] > _FEW_ROWS else self._groups_for_few:
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
