"""LightGBM: its text format, which is what a booster writes of itself, to trees.

What stands around the trees is read here, the trees by :mod:`trainyard_convert.lightgbm_trees`.
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
from trainyard_convert.errors import ConversionError, damaged, reading, reading_tree
from trainyard_convert.frames import frame_of
from trainyard_convert.inputs import Inputs, inputs_of
from trainyard_convert.lightgbm_trees import add_tree, pairs_of, trees_of
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


@reading("LightGBM model")
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
    header = pairs_of(head)
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
        trees=tuple(trees_of(text)),
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
        with reading_tree(_NAME, index):
            add_tree(trees, tree, index % text.outputs, inputs.codes)
    matrix = matrix_of(inputs.columns, binding, missing_allowed=True, name=_NAME)
    ensemble = trees.ensemble(
        matrix=matrix,
        base=np.zeros(text.outputs),
        aggregation="mean" if text.mean else "sum",
        output=text.output,
        gain=text.gain,
    )
    return Pipeline(matrix.steps, ensemble)
