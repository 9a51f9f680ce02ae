"""LightGBM: its text format, which is what a booster writes of itself, to trees.

Format and decisions are those of `src/io/tree.cpp` (`Tree::Tree(const char*, ...)`) and `include/LightGBM/tree.h`
(`NumericalDecision`, `CategoricalDecision`) of LightGBM 4.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import Pipeline
from trainyard.model.checks import MAX_CLASSES
from trainyard_convert.columns import LEVELS, Binding, matrix_of, names_of
from trainyard_convert.converted import Converted, Native, both, counted, labels_of
from trainyard_convert.errors import ConversionError, damaged
from trainyard_convert.frames import frame_of
from trainyard_convert.inputs import Inputs, inputs_of
from trainyard_convert.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.schema import Schema

_NAME = "LightGBM"
#: objective -> (task, output)
_OBJECTIVES = {
    "binary": ("binary", "sigmoid"),
    "multiclass": ("multiclass", "softmax"),
    "regression": ("regression", "identity"),
    "regression_l1": ("regression", "identity"),
    "huber": ("regression", "identity"),
    "fair": ("regression", "identity"),
    "quantile": ("regression", "identity"),
    "mape": ("regression", "identity"),
    "poisson": ("regression", "exp"),
    "gamma": ("regression", "exp"),
    "tweedie": ("regression", "exp"),
}
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of a decision type; the type of missing values stands above them
_NONE, _ZERO, _NAN = 0, 1, 2


def from_lightgbm(
    model: Any,
    schema: Schema,
    *,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    classes: Sequence[Any] | None = None,
) -> Converted:
    """Convert a ``lightgbm.Booster``, one of LightGBM's scikit-learn models, or the text of a model file.

    Args:
        model: what was fitted; early stopping's best round counts, as in LightGBM's own ``predict``.
        schema: the dataset's columns.
        columns: the dataset's column of each feature, in order; by default the features' names.
        label: the dataset's label, whose type the classes get.
        classes: the classes in LightGBM's order; by default the model's own, else 0, 1, ...

    Raises:
        ConversionError: it holds something that the format cannot say.
    """
    booster = None if isinstance(model, str) else getattr(model, "booster_", model)
    if classes is None:
        classes = getattr(model, "classes_", None)
    text = parse(model if booster is None else booster.model_to_string())
    binding = Binding(schema)
    names = names_of(columns, text.names, len(text.names), _NAME)
    levels = text.levels(names, schema)
    pipeline = pipeline_of(text, inputs_of(names, levels, binding, _NAME), binding)
    found = () if text.task == "regression" else counted(classes, max(2, text.outputs))
    return Converted(
        library=("lightgbm", text.version),
        kind=f"{len(text.trees)} trees, objective {text.objective}",
        task=text.task,
        schema=binding.narrowed(),
        pipeline=pipeline,
        classes=labels_of(found, None if label is None else schema.column(label), _NAME),
        native=None if booster is None else _native(booster, text, names, levels, schema),
    )


def _native(
    booster: Any, text: Text, names: Sequence[str], levels: Mapping[int, Sequence[Any] | None], schema: Schema
) -> Native:
    categories = {names[index]: own for index, own in levels.items() if own is not None}

    def answer(rows: Mapping[str, Sequence[Any]]) -> Any:
        found = np.asarray(booster.predict(frame_of(rows, names, text.names, schema, levels=categories)))
        return both(found) if text.task == "binary" else found

    return Native(answer)


# --- the text ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Text:
    """A model file, read: what its header says, and its trees as they stand there."""

    version: str
    names: tuple[str, ...]
    objective: str
    task: str
    output: str
    gain: float
    outputs: int
    mean: bool
    trees: tuple[Mapping[str, str], ...]
    categorical: tuple[int, ...]
    pandas: tuple[Sequence[Any], ...] | None

    def levels(self, names: Sequence[str], schema: Schema) -> dict[int, Sequence[Any] | None]:
        """Return the levels of each category, by feature.

        The file names pandas' levels column after column; categories that pandas did not know are codes.
        """
        if self.pandas is None:
            return dict.fromkeys(self.categorical)
        pandas = list(self.categorical)
        if len(pandas) != len(self.pandas):
            pandas = [i for i in pandas if names[i] in schema and schema.column(names[i]).type in LEVELS]
        if len(pandas) != len(self.pandas):
            raise ConversionError(
                "LightGBM categories", f"the file has levels for {len(self.pandas)} columns and does not say for which",
                "train it with columns of pandas' type category alone, or with codes alone",
            )  # fmt: skip
        return {**dict.fromkeys(self.categorical), **dict(zip(pandas, self.pandas, strict=True))}


def parse(text: str) -> Text:
    """Read a model file.

    Raises:
        ConversionError: it is none, or holds something that the format cannot say.
    """
    head, *rest = text.split("\nTree=")
    header = _pairs(head)
    if not head.startswith("tree\n") or "feature_names" not in header:
        raise ConversionError("LightGBM file", "it is not a text model of LightGBM", "save it with booster.save_model")
    tail = rest[-1].partition("end of trees")[2] if rest else head
    parameters = dict(_parameters(tail))
    objective, task, output, gain = _objective(header)
    if header.get("linear_tree") == "1" or parameters.get("linear_tree") == "1":
        raise ConversionError("LightGBM linear_tree", "its leaves are linear models", "train it with linear_tree=false")
    names = tuple(header["feature_names"].split(" "))
    outputs = _outputs(header, task)
    return Text(
        version=header.get("version", "?"),
        names=names,
        objective=objective,
        task=task,
        output=output,
        gain=gain,
        outputs=outputs,
        mean="average_output" in head.split("\n"),
        trees=tuple(_pairs("index=" + part.partition("end of trees")[0]) for part in rest),
        categorical=_categorical(parameters.get("categorical_feature", ""), names),
        pandas=_pandas(tail),
    )


def _outputs(header: Mapping[str, str], task: str) -> int:
    """Return how many scores there are: as many as classes, which stand there three times; LightGBM believes each."""
    outputs = int(header.get("num_tree_per_iteration", "1"))
    options = dict(word.split(":", 1) for word in header["objective"].split(" ") if ":" in word)
    claimed = {int(header.get("num_class", "1")), int(options.get("num_class", "1")), outputs}
    if len(claimed) > 1 or not (2 <= outputs <= MAX_CLASSES if task == "multiclass" else outputs == 1):
        raise damaged("LightGBM file", f"it claims {outputs} scores")
    return outputs


def _pairs(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.split("\n") if "=" in line)


def _parameters(tail: str) -> list[tuple[str, str]]:
    lines = (line[1:-1].split(": ", 1) for line in tail.split("\n") if line.startswith("[") and line.endswith("]"))
    return [(pair[0], pair[1]) for pair in lines if len(pair) == 2]


def _objective(header: Mapping[str, str]) -> tuple[str, str, str, float]:
    """Return objective, task, output and what scores are multiplied with first."""
    words = header.get("objective", "none").split(" ")
    name, options = words[0], dict(w.split(":", 1) for w in words[1:] if ":" in w)
    if name not in _OBJECTIVES or "sqrt" in words:
        called = name + (" reg_sqrt" if "sqrt" in words else "")
        raise ConversionError(
            f"LightGBM objective {called}", "the format has no such output",
            f"these can be imported: {', '.join(_OBJECTIVES)}",
        )  # fmt: skip
    task, output = _OBJECTIVES[name]
    return name, task, output, float(options.get("sigmoid", "1")) if task == "binary" else 1.0


def _categorical(text: str, names: Sequence[str]) -> tuple[int, ...]:
    if text.startswith("name:"):
        return tuple(names.index(name) for name in text[5:].split(",") if name in names)
    return tuple(sorted(int(part) for part in text.split(",") if part.strip().isdigit()))


def _pandas(tail: str) -> tuple[Sequence[Any], ...] | None:
    line = next((line for line in tail.split("\n") if line.startswith("pandas_categorical:")), "")
    try:
        found = json.loads(line.partition(":")[2] or "null")
    except ValueError as e:
        raise ConversionError("LightGBM file", "the levels of its categories cannot be read") from e
    return tuple(found) if found else None


# --- trees -------------------------------------------------------------------------------------------------------


def pipeline_of(text: Text, inputs: Inputs, binding: Binding) -> Pipeline:
    """Return the trees on their inputs.

    Raises:
        ConversionError: a split treats missing values in a way that the format does not have.
    """
    trees = Trees(_NAME, len(inputs.columns))
    for index, tree in enumerate(text.trees):
        _add(trees, tree, index % text.outputs, inputs)
    matrix = matrix_of(inputs.columns, binding, missing_allowed=True, name=_NAME)
    ensemble = trees.ensemble(
        matrix,
        base=np.zeros(text.outputs),
        aggregation="mean" if text.mean else "sum",
        output=text.output,
        gain=text.gain,
    )
    return Pipeline(matrix.steps, ensemble)


def _add(trees: Trees, tree: Mapping[str, str], output: int, inputs: Inputs) -> None:
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
    value, weight = numbers("leaf_value", float, leaves), numbers("leaf_count", float, leaves, np.nan)
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
            int(node): inputs.codes(int(feature[node]), _codes(tree, int(threshold[node])))
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
