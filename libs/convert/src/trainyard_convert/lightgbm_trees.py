"""LightGBM's trees as its text format has them: the one reader, for boosters that were fitted here or elsewhere.

Format and decisions are those of `src/io/tree.cpp` (`Tree::Tree(const char*, ...)`) and `include/LightGBM/tree.h`
(`NumericalDecision`, `CategoricalDecision`) of LightGBM 4. The text is read rather than the JSON dump, which takes as
long to make and to walk as the boosting itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard_convert.errors import ConversionError, damaged
from trainyard_convert.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.model import TreeEnsemble
    from trainyard.model.dto import FloatArray

    Codes = Callable[[int, Sequence[int]], list[int]]

_NAME = "LightGBM"
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of a decision type; the type of missing values stands above them
_ZERO, _NAN = 1, 2


def pairs_of(text: str) -> dict[str, str]:
    """Return the lines ``name=value``."""
    return dict(line.split("=", 1) for line in text.split("\n") if "=" in line)


def trees_of(text: str) -> list[dict[str, str]]:
    """Return the trees of a model file, each as the fields that it has there."""
    return [pairs_of("index=" + part.partition("end of trees")[0]) for part in text.split("\nTree=")[1:]]


def ensemble_of(text: str, *, features: int, base: FloatArray, output: str) -> TreeEnsemble:
    """Return the trees of a model file whose features are the columns of the matrix; ``base`` (K,) begins the scores.

    Raises:
        ConversionError: a tree is damaged, or treats missing values in a way that the format does not have.
    """
    trees = Trees(_NAME, features)
    for index, tree in enumerate(trees_of(text)):
        add_tree(trees, tree, index % len(base), lambda _feature, codes: list(codes))
    return trees.ensemble(base=base, aggregation="sum", output=output)


def add_tree(
    trees: Trees, tree: Mapping[str, str], output: int, codes: Callable[[int, Sequence[int]], list[int]]
) -> None:
    """Add a tree; ``codes`` says what the codes of a feature's levels are in the matrix.

    A tree has its inner nodes and its leaves as parallel lists; a child c >= 0 is the inner node c, else the leaf ~c.

    Raises:
        ConversionError: it is damaged, or treats missing values in a way that the format does not have.
    """
    leaves = len(tree["leaf_value"].split())
    inner = leaves - 1
    if leaves != int(tree["num_leaves"]):
        raise damaged(_NAME)

    def numbers(name: str, kind: Any, count: int, default: float | None = None) -> Any:
        words = tree.get(name, "").split()
        if default is not None and not words:
            return np.full(count, default, dtype=kind)
        if len(words) != count:
            raise damaged(_NAME)
        return np.array([kind(w) for w in words], dtype=kind)

    feature, threshold = numbers("split_feature", int, inner), numbers("threshold", float, inner)
    decision = numbers("decision_type", int, inner, 0)
    # a tree of one leaf does not tell its rows, and its cover explains nothing
    value, weight = numbers("leaf_value", float, leaves), numbers("leaf_count", float, leaves, np.nan if inner else 1.0)
    category = (decision & _CATEGORICAL) > 0
    missing = decision >> 2 & 3
    if ((missing == _ZERO) & ~category).any():
        raise ConversionError(
            "LightGBM zero_as_missing", "a split takes 0 for a missing value", "train it with zero_as_missing=false"
        )
    # Where training saw no missing value LightGBM takes one for 0; in a category it always goes right.
    default = np.where(missing == _NAN, (decision & _DEFAULT_LEFT) > 0, threshold >= 0.0) & ~category
    child = {side: numbers(f"{side}_child", int, inner) for side in ("left", "right")}
    for side, nodes in child.items():
        if (nodes >= inner).any():  # beyond them stand our leaves
            raise damaged(_NAME)
        child[side] = np.where(nodes < 0, inner + ~nodes, nodes)
    nothing = np.full(leaves, -1)
    zeros = np.zeros(leaves)
    trees.add(
        leaf=np.arange(inner + leaves) >= inner,
        feature=np.concatenate([feature, nothing]),
        threshold=np.concatenate([np.where(category, 0.0, threshold), zeros]),
        left=np.concatenate([child["left"], nothing]),
        right=np.concatenate([child["right"], nothing]),
        default_left=np.concatenate([default, zeros]),
        value=np.concatenate([np.zeros(inner), value]),
        cover=np.concatenate([np.zeros(inner), weight]),
        output=output,
        categories={
            int(node): codes(int(feature[node]), _codes(tree, int(threshold[node])))
            for node in np.flatnonzero(category)
        },
    )


def _codes(tree: Mapping[str, str], index: int) -> list[int]:
    """Return the codes in the ``index``-th set of a tree, which is kept as 32-bit words."""
    bounds = [int(w) for w in tree["cat_boundaries"].split()]
    words = [int(w) for w in tree["cat_threshold"].split()]
    count = int(tree["num_cat"])
    rising = bounds == sorted(bounds) and bounds[0] == 0 and bounds[-1] == len(words)
    if len(bounds) != count + 1 or not rising or not 0 <= index < count:
        raise damaged(_NAME)
    own = words[bounds[index] : bounds[index + 1]]
    return [32 * i + bit for i, word in enumerate(own) for bit in range(32) if word >> bit & 1]
