"""XGBoost's trees on their inputs.

XGBoost compares in float32 with "less than": the thresholds are moved so that float64 and "at most" go the same way
for every number. Its leaves are float32 too; it adds them in float32, the format in float64. Decisions are those of
`src/predictor/predict_fn.h` and `src/common/categorical.h` of XGBoost 3: a level in the set of a split goes right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import Pipeline
from trainyard.model.float32 import below_in_double
from trainyard_convert.columns import matrix_of
from trainyard_convert.errors import ConversionError, damaged, reading_tree
from trainyard_convert.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard_convert.columns import Binding
    from trainyard_convert.inputs import Inputs
    from trainyard_convert.xgboost_json import Document

_NAME = "XGBoost"
_CODES = 1 << 24  # XGBoost's own limit of a category's code


def pipeline_of(document: Document, inputs: Inputs, binding: Binding) -> Pipeline:
    """Return the trees on their inputs.

    Raises:
        ConversionError: a leaf holds several values.
    """
    trees = Trees(_NAME, len(inputs.columns))
    each = zip(document.trees, document.weights, document.tree_output, strict=True)
    for index, (tree, weight, output) in enumerate(each):
        with reading_tree(_NAME, index):
            _add(trees, tree, weight, output, inputs)
    matrix = matrix_of(inputs.columns, binding, missing_allowed=True, name=_NAME)
    ensemble = trees.ensemble(matrix=matrix, base=document.base, aggregation="sum", output=document.output)
    return Pipeline(matrix.steps, ensemble)


def _add(trees: Trees, tree: Mapping[str, Any], weight: float, output: int, inputs: Inputs) -> None:
    if int(tree["tree_param"].get("size_leaf_vector", "1")) > 1:
        raise ConversionError(
            "XGBoost multi_output_tree", "a leaf holds a value for each label", "train it with one_output_per_tree"
        )
    left, right = (np.asarray(tree[f"{side}_children"], dtype=np.int64) for side in ("left", "right"))
    leaf = left == -1
    condition = np.asarray(tree["split_conditions"], dtype=np.float32)
    missing_left = np.asarray(tree["default_left"], dtype=np.int64) != 0
    sets = _sets(tree)
    if not all(0 <= node < len(leaf) and not leaf[node] for node in sets):
        raise damaged(_NAME)
    swapped = np.zeros(len(leaf), dtype=bool)
    swapped[list(sets)] = True
    feature = np.asarray(tree["split_indices"], dtype=np.int64)
    trees.add(
        leaf=leaf,
        feature=feature,
        threshold=below_in_double(condition),
        left=np.where(swapped, right, left),
        right=np.where(swapped, left, right),
        default_left=missing_left ^ swapped,
        value=leaf_values(tree, weight),
        cover=np.asarray(tree["sum_hessian"], dtype=np.float64),
        output=output,
        categories={node: inputs.codes(int(feature[node]), codes) for node, codes in sets.items()},
    )


def leaf_values(tree: Mapping[str, Any], weight: float) -> Any:
    """Return what each node adds, float64, 0 where it is no leaf."""
    leaf = np.asarray(tree["left_children"]) == -1
    return np.where(leaf, np.asarray(tree["split_conditions"], dtype=np.float32).astype(np.float64) * weight, 0.0)


def _sets(tree: Mapping[str, Any]) -> dict[int, list[int]]:
    codes = [int(c) for c in tree.get("categories", ())]
    parts = zip(
        tree.get("categories_nodes", ()), tree.get("categories_segments", ()), tree.get("categories_sizes", ()),
        strict=True,
    )  # fmt: skip
    sets = {int(node): codes[int(at) : int(at) + int(size)] for node, at, size in parts}
    whole = [code for own in sets.values() for code in own] == codes  # one set after the other, each within the codes
    if not whole or not all(0 <= code < _CODES for code in codes):
        raise damaged(_NAME)
    return sets
