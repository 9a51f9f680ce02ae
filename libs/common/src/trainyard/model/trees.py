"""Tree ensembles on a feature-major matrix, exactly: the same leaf and the same order of additions for any batch.

A few rows are walked down the trees; from the first batch on that is worth it, or when single rows have become many,
the tables of :mod:`trainyard.model.tree_tables` take over where the trees are small enough for them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainyard.model.tree_nodes import Nodes
from trainyard.model.tree_tables import BitTables

if TYPE_CHECKING:
    from trainyard.model.dto import FloatArray
    from trainyard.model.ensembles import TreeEnsemble

#: Rows, in one batch or in all, from which on tables are worth building; more than a model has golden rows.
WORTH_TABLES = 128


class TreeKernel:
    """An ensemble ready to run. Making one costs nothing: what it needs is built at its first rows, once.

    Threads may share it: what they read is complete before they can see it, and only builders wait for each other.
    """

    def __init__(self, trees: TreeEnsemble) -> None:
        self._trees = trees
        self._rows = 0  # threads may lose some of each other's; it only says when tables are worth it
        self._building = threading.Lock()
        self._nodes: Nodes | None = None
        self._settled: BitTables | Nodes | None = None

    def scores(self, x: FloatArray) -> FloatArray:
        """Return the scores (K, rows) of a matrix (D, rows)."""
        return (self._settled or self._choose(x.shape[1])).scores(x)

    def scores_of_one(self, row: list[float]) -> list[float]:
        """Return the scores (K,) of one row (D,) of the matrix."""
        return (self._settled or self._choose(1)).scores_of_one(row)

    def _choose(self, n_rows: int) -> BitTables | Nodes:
        """Return what these rows are to run on, building it if need be."""
        self._rows += n_rows
        worth_it = self._rows >= WORTH_TABLES
        if self._nodes is not None and not worth_it:
            return self._nodes
        with self._building:
            nodes = self._nodes = self._nodes or Nodes.of(self._trees)
            if worth_it and self._settled is None:
                self._settled = BitTables.build(nodes) or nodes
            return self._settled or nodes
