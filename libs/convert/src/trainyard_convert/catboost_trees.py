"""CatBoost's trees on their inputs.

A split is true where a float32 is greater than its border, or where a level's hash is the one that it tests; bit i of a
leaf's index in an oblivious tree says whether split i was true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import Pipeline
from trainyard.model.float32 import at_most_in_double
from trainyard_convert.cityhash import level_hash
from trainyard_convert.columns import LevelsColumn, MatrixColumn, TableColumn, matrix_of
from trainyard_convert.errors import ConversionError, damaged, reading_tree
from trainyard_convert.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trainyard_convert.catboost_json import Document
    from trainyard_convert.columns import Binding

_NAME = "CatBoost"
_MOST_DEPTH = 16  # CatBoost's own limit
#: A missing number is less than every border, or greater; where training saw none, no border is exceeded.
_MISSING_LEFT = {"AsFalse": True, "AsIs": True, "AsTrue": False}


@dataclass(frozen=True, eq=False)
class Inputs:
    """Matrix columns, one for each input; for categories the code of each hash that a split tests."""

    columns: Sequence[MatrixColumn]
    codes: Mapping[int, Mapping[int, int]]


def inputs_of(
    document: Document,
    names: Sequence[str],
    binding: Binding,
    more: Mapping[str, Iterable[str]],
    missing_level: str | None,
) -> Inputs:
    """Return the inputs called ``names``; arguments as in :func:`trainyard_convert.from_catboost`.

    Raises:
        ConversionError: a column is missing or of another kind, or a level that is tested is not known.
    """
    columns: list[MatrixColumn | None] = [None] * len(names)
    for feature in document.floats:
        at = int(feature["flat_feature_index"])
        columns[at] = raw = binding.raw(names[at])
        if isinstance(raw, LevelsColumn):
            raise ConversionError(
                f"CatBoost input {raw.name!r}", "the dataset has it as a category, the model as a number",
                "name the right columns with --columns",
            )  # fmt: skip
    codes: dict[int, dict[int, int]] = {}
    for index, feature in enumerate(document.categories):
        at = int(feature["flat_feature_index"])
        raw = binding.raw(names[at])
        if not isinstance(raw, LevelsColumn):
            raise ConversionError(
                f"CatBoost category {names[at]!r}", "the dataset has it as a number, the model knows hashes of texts",
                "make it a category column",
            )  # fmt: skip
        tested = {int(value): code for code, value in enumerate(feature.get("values", ()))}
        known = {*(binding.schema.column(raw.name).categories or ()), *more.get(raw.name, ())}
        if missing_level is None:
            binding.required.add(raw.name)
        columns[at] = _table(raw.name, tested, known, missing_level)
        codes[index] = tested
    return Inputs([c for c in columns if c is not None], codes)


def numbers_only(document: Document, columns: Sequence[MatrixColumn]) -> Inputs:
    """Return columns that somebody else has made as the inputs of a model.

    Raises:
        ConversionError: it knows some of them as categories.
    """
    if document.categories:
        raise ConversionError(
            "CatBoost categories in a pipeline", "it knows hashes of what the steps before it make",
            "import the CatBoost model alone",
        )  # fmt: skip
    return Inputs(columns, {})


def _table(name: str, tested: Mapping[int, int], known: Iterable[str], missing_level: str | None) -> TableColumn:
    """Return the codes of the levels that are tested; all others are none of them, as unknown ones are."""
    levels = {level: tested[h] for level in sorted(known) if (h := level_hash(level)) in tested}
    missing = np.nan if missing_level is None else float(tested.get(level_hash(missing_level), np.nan))
    found = {*levels.values(), missing}
    lost = [value for value, code in tested.items() if code not in found]
    if lost:
        raise ConversionError(
            f"CatBoost category {name!r}", f"it tests {len(lost)} level(s) that are none of the dataset's known ones"
            f" (of hash {lost[0]})", "import it when rows with all its levels are in the dataset",
        )  # fmt: skip
    return TableColumn(name, tuple(levels), np.array(list(levels.values()), dtype=np.float64), np.nan, missing)


# --- trees -------------------------------------------------------------------------------------------------------


def pipeline_of(document: Document, inputs: Inputs, binding: Binding) -> Pipeline:
    """Return the trees on their inputs.

    Raises:
        ConversionError: a split needs statistics that the format does not have.
    """
    trees = Trees(_NAME, len(inputs.columns))
    floats = [int(f["flat_feature_index"]) for f in document.floats]
    categories = [int(f["flat_feature_index"]) for f in document.categories]
    left = [_MISSING_LEFT[f.get("nan_value_treatment", "AsIs")] for f in document.floats]
    splits = sum(len(f.get("borders") or ()) for f in document.floats)
    splits += sum(len(f.get("values") or ()) for f in document.categories)
    features = _Features(floats, categories, left, inputs.codes, splits)
    for number, tree in enumerate(document.trees):
        with reading_tree(_NAME, number):
            grown = _oblivious(tree, len(document.bias)) if "leaf_values" in tree else _grown(tree)
            grown.add_to(trees, features)
    matrix = matrix_of(inputs.columns, binding, missing_allowed=True, name=_NAME)
    ensemble = trees.ensemble(
        matrix=matrix, base=document.bias, aggregation="sum", output=document.output, gain=document.scale
    )
    return Pipeline(matrix.steps, ensemble)


@dataclass(frozen=True, eq=False)
class _Features:
    """Inputs of each feature of a kind, and how many ``splits`` there are of all: by their numbers CatBoost reads."""

    floats: Sequence[int]
    categories: Sequence[int]
    missing_left: Sequence[bool]
    codes: Mapping[int, Mapping[int, int]]
    splits: int


@dataclass(eq=False)
class _Tree:
    """Nodes as CatBoost has them: a split and where a row goes that makes it false or true, or a leaf (no split)."""

    splits: list[Mapping[str, Any] | None]
    false: list[int]
    true: list[int]
    values: list[Any]
    weights: list[float]

    def add_to(self, trees: Trees, features: _Features) -> None:
        """Add it. What goes left is false for a number and true for a level."""
        n = len(self.splits)
        feature, default, border = np.full(n, -1), np.zeros(n, dtype=bool), np.zeros(n)
        left, right = np.array(self.false), np.array(self.true)
        categories: dict[int, list[int]] = {}
        for node, split in enumerate(self.splits):
            if split is None:
                continue
            kind = split.get("split_type", "FloatFeature")
            if kind == "FloatFeature":
                _index(split["split_index"], features.splits)
                index = _index(split["float_feature_index"], len(features.floats))
                feature[node], default[node] = features.floats[index], features.missing_left[index]
                border[node] = np.float32(split["border"])  # written with digits enough for a float32
            elif kind == "OneHotFeature":
                _index(split["split_index"], features.splits)
                index = _index(split["cat_feature_index"], len(features.categories))
                feature[node] = features.categories[index]
                left[node], right[node] = self.true[node], self.false[node]
                categories[node] = [features.codes[index][int(split["value"])]]
            else:
                raise ConversionError(
                    f"CatBoost {kind} split", "it needs statistics that the format does not have",
                    "train with one_hot_max_size above the largest number of levels",
                )  # fmt: skip
        trees.add(
            leaf=np.array([split is None for split in self.splits]),
            feature=feature,
            threshold=at_most_in_double(border),
            left=left,
            right=right,
            default_left=default,
            value=np.array(self.values, dtype=np.float64),
            cover=np.array(self.weights),
            categories=categories,
        )


def _index(value: Any, count: int) -> int:
    if not 0 <= int(value) < count:
        raise damaged(_NAME)
    return int(value)


def _oblivious(tree: Mapping[str, Any], outputs: int) -> _Tree:
    splits = tree.get("splits") or []
    depth = len(splits)
    if depth > _MOST_DEPTH or len(tree["leaf_values"]) != outputs << depth:
        raise damaged(_NAME)
    leaves = 1 << depth
    values = np.asarray(tree["leaf_values"], dtype=np.float64).reshape(leaves, outputs)
    weights = tree.get("leaf_weights") or [1.0] * leaves
    if len(weights) != leaves:
        raise damaged(_NAME)
    level = np.repeat(np.arange(depth), 1 << np.arange(depth)) if depth else np.zeros(0, dtype=np.int64)
    place = np.arange(leaves - 1) - (1 << level) + 1  # which of the splits above were true
    below = (1 << (level + 1)) - 1 + place
    nothing = [-1] * leaves
    return _Tree(
        splits=[splits[i] for i in level] + [None] * leaves,
        false=below.tolist() + nothing,
        true=(below + (1 << level)).tolist() + nothing,
        values=[*np.zeros((leaves - 1, values.shape[1])), *values],
        weights=[0.0] * (leaves - 1) + [float(w) for w in weights],
    )


def _grown(tree: Mapping[str, Any]) -> _Tree:
    found = _Tree([], [], [], [], [])
    waiting: list[tuple[Mapping[str, Any], list[int], int]] = [(tree, [], 0)]
    width = _width(tree)
    while waiting:
        node, parents, parent = waiting.pop()
        at = len(found.splits)
        if parents:
            parents[parent] = at
        split = node.get("split")
        found.splits.append(split)
        found.false.append(-1)
        found.true.append(-1)
        found.values.append(np.zeros(width) if split else np.atleast_1d(node["value"]))
        found.weights.append(0.0 if split else float(node.get("weight", 1.0)))
        if split:
            waiting += [(node["right"], found.true, at), (node["left"], found.false, at)]
    return found


def _width(tree: Mapping[str, Any]) -> int:
    while "split" in tree:
        tree = tree["left"]
    return len(np.atleast_1d(tree["value"]))
