"""What must hold for an ensemble of trees, found out without numpy where it is not loaded."""

from __future__ import annotations

from itertools import pairwise

from trainyard.model.dto import AGGREGATIONS
from trainyard.model.ensembles import CATEGORICAL, LEAF, MISSING_LEFT
from trainyard.model.rules import require
from trainyard.model.tree_shape import tree_sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trainyard.model.arrays import Array
    from trainyard.model.ensembles import TreeEnsemble

MAX_TREES = 5_000
MAX_NODES = 10_000_000
MAX_DEPTH = 256
MAX_CATEGORIES = 1_000_000
#: What a node may be; anything else is left when these bytes are taken away.
_KNOWN = bytes((LEAF, 0, MISSING_LEFT, CATEGORICAL, MISSING_LEFT | CATEGORICAL))
_IS_LEAF = bytes(node == LEAF for node in range(256))
_IS_CATEGORICAL = bytes(bool(node & CATEGORICAL) for node in range(256))


def check_trees(trees: TreeEnsemble, width: int, n_outputs: int) -> None:
    """Raise ``ArtifactError`` for the first rule that they break, on a matrix of ``width`` columns."""
    n_trees, n_nodes = len(trees.tree_output), len(trees.node)
    require(1 <= n_trees <= MAX_TREES, "limit_exceeded", f"an ensemble has 1 to {MAX_TREES} trees")
    require(n_trees <= n_nodes <= MAX_NODES, "limit_exceeded", f"an ensemble has at most {MAX_NODES} nodes")
    require(trees.aggregation in AGGREGATIONS, "unknown_kind", f"aggregations are {', '.join(AGGREGATIONS)}")
    require(trees.base.shape == (n_outputs,), "shape_mismatch", "one base score for each output")
    n_values = trees.value.shape[1]
    require(n_values in (1, n_outputs), "shape_mismatch", "a leaf holds one value, or one for each output")
    high = n_outputs if n_values == 1 else 1
    require(trees.tree_output.highest < high, "bad_tree", "a tree adds to an output that does not exist")
    require(not trees.node.data.translate(None, _KNOWN), "bad_tree", "a node is of no known kind")
    sizes = tree_sizes(trees.node)
    require(len(sizes) == n_trees and sum(sizes) == n_nodes, "bad_tree", "the nodes do not form so many trees")
    n_leaves = trees.node.data.count(LEAF)
    n_inner = n_nodes - n_leaves
    require(len(trees.feature) == len(trees.threshold) == n_inner, "shape_mismatch", "one test for each inner node")
    require(len(trees.value) == n_leaves, "shape_mismatch", "one row of values for each leaf")
    cover = trees.cover
    require(cover is None or len(cover) == n_leaves, "shape_mismatch", "one cover for each leaf")
    require(cover is None or cover.lowest >= 0, "bad_tree", "a cover is negative")
    if n_inner:
        require(trees.feature.highest < width, "bad_tree", "a node reads no such column")
    _check_categories(trees)
    _check_depth(trees.node, sizes)


def _check_categories(trees: TreeEnsemble) -> None:
    codes = trees.category.flat
    require(len(codes) <= MAX_CATEGORIES, "limit_exceeded", f"an ensemble has at most {MAX_CATEGORIES} category codes")
    require(len(trees.category_start) <= len(codes), "bad_tree", "there are more sets of categories than codes")
    starts = trees.category_start.tolist()
    if not starts:
        unused = not codes and not trees.node.data.translate(_IS_CATEGORICAL).count(1)
        require(unused, "bad_tree", "there are no sets of categories, and a node or code wants one")
        return
    bounds = pairwise([*starts, len(codes)])
    require(starts[0] == 0 and all(a < b for a, b in bounds), "bad_tree", "the sets of categories do not follow on")
    first = set(starts)
    rising = all(a < b or at in first for at, (a, b) in enumerate(pairwise(codes), start=1))
    require(rising, "bad_tree", "the codes of a set do not rise")
    inner = trees.node.data.translate(None, bytes((LEAF,)))
    asked = {t for node, t in zip(inner, trees.threshold.flat, strict=True) if node & CATEGORICAL}
    require(asked == set(map(float, range(len(starts)))), "bad_tree", "nodes and sets of categories do not fit")


def _check_depth(node: Array, sizes: list[int]) -> None:
    """Refuse a tree with more than MAX_DEPTH levels of inner nodes, which takes more leaves than that."""
    at = 0
    for size in sizes:
        if size > 2 * MAX_DEPTH:
            depth, waiting = 0, [0]
            for leaf in node.data[at : at + size].translate(_IS_LEAF):
                if leaf:  # the right child of the last node that still lacks one is next
                    depth = waiting.pop()
                else:
                    depth += 1
                    waiting.append(depth)
                    require(depth <= MAX_DEPTH, "limit_exceeded", f"a tree is deeper than {MAX_DEPTH}")
        at += size
