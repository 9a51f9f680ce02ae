"""CatBoost: its JSON document, which is what a model writes of itself, to trees.

A split is true where a float32 is greater than its border, or where a level's hash is the one that it tests; bit i of a
leaf's index in an oblivious tree says whether split i was true (`catboost/libs/model/model_export/json_model_helpers`).
Levels are kept as hashes alone: only those of the dataset can be told apart again.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import Pipeline
from trainyard.model.float32 import at_most_in_double
from trainyard_convert.cityhash import level_hash
from trainyard_convert.columns import Binding, LevelsColumn, MatrixColumn, TableColumn, matrix_of, names_of
from trainyard_convert.converted import Converted, Native, counted, labels_of
from trainyard_convert.errors import ConversionError
from trainyard_convert.frames import frame_of
from trainyard_convert.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trainyard.schema import Schema

_NAME = "CatBoost"
#: loss -> (task, output, what CatBoost itself calls such an answer)
_LOSSES = {
    "Logloss": ("binary", "sigmoid", "Probability"),
    "CrossEntropy": ("binary", "sigmoid", "Probability"),
    "MultiClass": ("multiclass", "softmax", "Probability"),
    "RMSE": ("regression", "identity", "RawFormulaVal"),
    "MAE": ("regression", "identity", "RawFormulaVal"),
    "MAPE": ("regression", "identity", "RawFormulaVal"),
    "Quantile": ("regression", "identity", "RawFormulaVal"),
    "Huber": ("regression", "identity", "RawFormulaVal"),
    "Poisson": ("regression", "exp", "Exponent"),
    "Tweedie": ("regression", "exp", "Exponent"),
}
#: A missing number is less than every border, or greater; where training saw none, no border is exceeded.
_MISSING_LEFT = {"AsFalse": True, "AsIs": True, "AsTrue": False}


def from_catboost(
    model: Any,
    schema: Schema,
    *,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    classes: Sequence[Any] | None = None,
    levels: Mapping[str, Iterable[str]] | None = None,
    missing_level: str | None = None,
) -> Converted:
    """Convert a ``catboost.CatBoost`` model (any of its classes), or the text of a .json file.

    Args:
        model: what was fitted.
        schema: the dataset's columns.
        columns: the dataset's column of each feature, in order; by default the features' names.
        label: the dataset's label, whose type the classes get.
        classes: the classes in CatBoost's order; by default the model's own.
        levels: more levels of category columns than the schema names.
        missing_level: the text that stood for a missing category in training; without it a category must not be
            missing, for CatBoost takes none.

    Raises:
        ConversionError: it holds something that the format cannot say.
    """
    found = parse(model if isinstance(model, str) else document_of(model))
    binding = Binding(schema)
    names = names_of(columns, found.names, len(found.names), _NAME)
    inputs = _inputs(found, names, binding, levels or {}, missing_level)
    pipeline = pipeline_of(found, inputs, binding)
    labels = () if found.task == "regression" else found.classes if classes is None else counted(classes, found.labels)
    return Converted(
        library=("catboost", found.version),
        kind=f"{len(found.trees)} trees, loss {found.loss}",
        task=found.task,
        schema=binding.narrowed(),
        pipeline=pipeline,
        classes=labels_of(labels, None if label is None else schema.column(label), _NAME),
        native=None if isinstance(model, str) else _native(model, found, names, schema, missing_level),
    )


def document_of(model: Any) -> str:
    """Return what a model writes of itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        return path.read_text(encoding="utf-8")


def _native(model: Any, document: Document, names: Sequence[str], schema: Schema, missing_level: str | None) -> Native:
    kind = _LOSSES[document.loss][2]

    def answer(rows: Mapping[str, Sequence[Any]]) -> Any:
        frame = frame_of(rows, names, document.names, schema, missing_level=missing_level)
        return np.asarray(model.predict(frame, prediction_type=kind))

    return Native(answer)


# --- the document ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Document:
    """A model file, read. ``floats`` and ``categories`` say which input each feature of a kind is."""

    version: str
    loss: str
    task: str
    output: str
    classes: Sequence[Any]
    labels: int
    names: tuple[str, ...]
    floats: Sequence[Mapping[str, Any]]
    categories: Sequence[Mapping[str, Any]]
    trees: Sequence[Mapping[str, Any]]
    scale: float
    bias: Sequence[float]


def parse(text: str) -> Document:
    """Read a model file.

    Raises:
        ConversionError: it is none, or holds something that the format cannot say.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ConversionError("CatBoost file", "it is not JSON", "save it with save_model(..., format='json')") from e
    try:
        info, features = document["model_info"], document["features_info"]
        trees = document.get("oblivious_trees") or document["trees"]
        scale, bias = document["scale_and_bias"]
        loss = _object(info["params"])["loss_function"]["type"]
        _refuse(loss, features)
        task, output, _ = _LOSSES[loss]
        own = _object(info.get("class_params", {})).get("class_names", ())
        labels = {"binary": 2, "multiclass": len(bias), "regression": 0}[task]
        floats, categories = features.get("float_features", ()), features.get("categorical_features", ())
        inputs = {int(f["flat_feature_index"]): f for f in [*floats, *categories]}
        return Document(
            version=_version(info.get("catboost_version_info", "")),
            loss=loss,
            task=task,
            output=output,
            classes=own if len(own) == labels else list(range(labels)),
            labels=labels,
            names=tuple(str(inputs[i].get("feature_name", inputs[i]["feature_id"])) for i in range(len(inputs))),
            floats=floats,
            categories=categories,
            trees=trees,
            scale=float(scale),
            bias=[float(b) for b in bias],
        )
    except (KeyError, TypeError, ValueError) as e:
        raise ConversionError("CatBoost file", f"its document lacks {e}", "save it with a current CatBoost") from e


def _object(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _version(text: str) -> str:
    tag = text.partition("Branch: tags/v")[2].split()
    return tag[0] if tag else "?"


def _refuse(loss: str, features: Mapping[str, Any]) -> None:
    if loss not in _LOSSES:
        raise ConversionError(
            f"CatBoost loss {loss}", "the format has no such output",
            f"these can be imported: {', '.join(_LOSSES)}",
        )  # fmt: skip
    for kind in ("text_features", "embedding_features"):
        if features.get(kind):
            raise ConversionError(f"CatBoost {kind}", "the format computes none", "train without them")
    if features.get("ctrs"):
        raise ConversionError(
            "CatBoost CTR features", "they are tables of target statistics of combined categories",
            "train with one_hot_max_size above the largest number of levels, or without these columns",
        )  # fmt: skip


# --- inputs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Inputs:
    """Matrix columns, one for each input; for categories the code of each hash that a split tests."""

    columns: Sequence[MatrixColumn]
    codes: Mapping[int, Mapping[int, int]]


def _inputs(
    document: Document,
    names: Sequence[str],
    binding: Binding,
    more: Mapping[str, Iterable[str]],
    missing_level: str | None,
) -> Inputs:
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
    trees = Trees(_NAME)
    floats = [int(f["flat_feature_index"]) for f in document.floats]
    categories = [int(f["flat_feature_index"]) for f in document.categories]
    left = [_MISSING_LEFT[f.get("nan_value_treatment", "AsIs")] for f in document.floats]
    for tree in document.trees:
        grown = _oblivious(tree) if "leaf_values" in tree else _grown(tree)
        grown.add_to(trees, _Features(floats, categories, left, inputs.codes))
    matrix = matrix_of(inputs.columns, binding, missing_allowed=True, name=_NAME)
    ensemble = trees.ensemble(
        matrix, base=document.bias, aggregation="sum", output=document.output, gain=document.scale
    )
    return Pipeline(matrix.steps, ensemble)


@dataclass(frozen=True, eq=False)
class _Features:
    floats: Sequence[int]
    categories: Sequence[int]
    missing_left: Sequence[bool]
    codes: Mapping[int, Mapping[int, int]]


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
                index = int(split["float_feature_index"])
                feature[node], default[node] = features.floats[index], features.missing_left[index]
                border[node] = np.float32(split["border"])  # written with digits enough for a float32
            elif kind == "OneHotFeature":
                index = int(split["cat_feature_index"])
                feature[node] = features.categories[index]
                left[node], right[node] = self.true[node], self.false[node]
                categories[node] = [features.codes[index][int(split["value"])]]
            else:
                raise ConversionError(
                    f"CatBoost {kind} split", "it needs statistics that the format does not have",
                    "train with one_hot_max_size above the largest number of levels",
                )  # fmt: skip
        trees.add(
            feature=feature,
            threshold=at_most_in_double(border),
            left=left,
            right=right,
            default_left=default,
            value=np.array(self.values, dtype=np.float64),
            cover=np.array(self.weights),
            categories=categories,
        )


def _oblivious(tree: Mapping[str, Any]) -> _Tree:
    splits = tree.get("splits") or []
    depth = len(splits)
    leaves = 1 << depth
    values = np.asarray(tree["leaf_values"], dtype=np.float64).reshape(leaves, -1)
    weights = tree.get("leaf_weights") or [1.0] * leaves
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
