"""CatBoost: its JSON document, which is what a model writes of itself, to trees.

The document is that of `catboost/libs/model/model_export/json_model_helpers.cpp`. Levels are kept as hashes alone: only
those of the dataset can be told apart again.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard_convert.catboost_trees import inputs_of, pipeline_of
from trainyard_convert.columns import Binding, names_of
from trainyard_convert.converted import Converted, Native, counted, labels_of
from trainyard_convert.errors import ConversionError, reading
from trainyard_convert.frames import frame_of

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


@reading("CatBoost model")
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
    inputs = inputs_of(found, names, binding, levels or {}, missing_level)
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
            names=_names([str(inputs[i].get("feature_name", inputs[i]["feature_id"])) for i in range(len(inputs))]),
            floats=floats,
            categories=categories,
            trees=trees,
            scale=float(scale),
            bias=[float(b) for b in bias],
        )
    except (KeyError, TypeError, ValueError) as e:
        raise ConversionError("CatBoost file", f"its document lacks {e}", "save it with a current CatBoost") from e


def _names(own: Sequence[str]) -> tuple[str, ...]:
    """Return what CatBoost calls the features: by its number one that has no name, or that of one before it."""
    return tuple(name if name and name not in own[:i] else str(i) for i, name in enumerate(own))


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
