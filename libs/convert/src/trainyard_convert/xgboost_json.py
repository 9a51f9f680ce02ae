"""XGBoost: its JSON (or UBJSON) document, which is what a booster writes of itself, to trees.

What stands around the trees is read here, the trees by :mod:`trainyard_convert.xgboost_trees`.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model.checks import MAX_CLASSES
from trainyard_convert import ubjson
from trainyard_convert.columns import Binding, names_of
from trainyard_convert.converted import Converted, Native, both, counted, labels_of
from trainyard_convert.errors import ConversionError, damaged, reading
from trainyard_convert.frames import frame_of
from trainyard_convert.inputs import inputs_of
from trainyard_convert.xgboost_trees import leaf_values, pipeline_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.schema import Schema

_NAME = "XGBoost"
#: objective -> (task, output, what its base score is on the scale of the scores)
_OBJECTIVES: dict[str, tuple[str, str]] = {
    "binary:logistic": ("binary", "sigmoid"),
    "multi:softprob": ("multiclass", "softmax"),
    "multi:softmax": ("multiclass", "softmax"),
    "reg:squarederror": ("regression", "identity"),
    "reg:absoluteerror": ("regression", "identity"),
    "reg:pseudohubererror": ("regression", "identity"),
    "reg:quantileerror": ("regression", "identity"),
    "count:poisson": ("regression", "exp"),
    "reg:gamma": ("regression", "exp"),
    "reg:tweedie": ("regression", "exp"),
}


@reading("XGBoost model")
def from_xgboost(
    model: Any,
    schema: Schema,
    *,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    classes: Sequence[Any] | None = None,
) -> Converted:
    """Convert an ``xgboost.Booster``, one of XGBoost's scikit-learn models, or the bytes of a .json or .ubj file.

    Args:
        model: what was fitted; where early stopping noted a best round, the rounds up to it count, as they do for
            XGBoost's scikit-learn models.
        schema: the dataset's columns.
        columns: the dataset's column of each feature, in order; by default the features' names.
        label: the dataset's label, whose type the classes get.
        classes: the classes in XGBoost's order; by default the model's own, else 0, 1, ...

    Raises:
        ConversionError: it holds something that the format cannot say.
    """
    booster = None if isinstance(model, bytes) else model.get_booster() if hasattr(model, "get_booster") else model
    if classes is None and booster is not model:
        classes = getattr(model, "classes_", None)
    found = parse(model if booster is None else bytes(booster.save_raw("ubj")))
    binding = Binding(schema)
    names = names_of(columns, found.names, found.count, _NAME)
    inputs = inputs_of(names, found.levels, binding, _NAME)
    pipeline = pipeline_of(found, inputs, binding)
    labels = () if found.task == "regression" else counted(classes, max(2, found.outputs))
    whole = found.rounds == found.all_rounds
    return Converted(
        library=("xgboost", found.version),
        kind=f"{found.booster} of {len(found.trees)} trees, objective {found.objective}",
        task=found.task,
        schema=binding.narrowed(),
        pipeline=pipeline,
        classes=labels_of(labels, None if label is None else schema.column(label), _NAME),
        native=None if booster is None else _native(booster, found, names, schema),
        notes=() if whole else (f"rounds 1 to {found.rounds} of {found.all_rounds}, where early stopping was best",),
    )


# --- the document ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Document:
    """A model file, read. ``weights`` are those of the trees (dart), ``base`` is on the scale of the scores."""

    version: str
    booster: str
    objective: str
    task: str
    output: str
    outputs: int
    count: int
    names: Sequence[str] | None
    base: Any
    trees: Sequence[Mapping[str, Any]]
    weights: Sequence[float]
    tree_output: Sequence[int]
    levels: Mapping[int, Sequence[Any] | None]
    rounds: int
    all_rounds: int


def parse(data: bytes) -> Document:
    """Read a model file.

    Raises:
        ConversionError: it is none, or holds something that the format cannot say.
    """
    document = _document(data)
    try:
        learner = document["learner"]
        parameters, booster = learner["learner_model_param"], learner["gradient_booster"]
        objective, name = learner["objective"]["name"], booster["name"]
        _refuse(name, objective, parameters)
        model = (booster["gbtree"] if name == "dart" else booster)["model"]
        task, output = _OBJECTIVES[objective]
        outputs = max(1, int(parameters["num_class"]))
        if not (outputs <= MAX_CLASSES if task == "multiclass" else outputs == 1):
            raise damaged("XGBoost file", f"it claims {outputs} classes")
        ends = _rounds(model, outputs)
        best = learner.get("attributes", {}).get("best_iteration")
        rounds = len(ends) if best is None else min(len(ends), int(best) + 1)
        kept = ends[rounds - 1] if ends else 0
        tree_output = [int(k) for k in model["tree_info"]]
        if rounds < 0 or not all(0 <= k < outputs for k in tree_output):
            raise damaged("XGBoost file", "its trees belong to rounds or classes that it does not have")
        count = int(parameters["num_feature"])
        return Document(
            version=".".join(str(part) for part in document.get("version", ["?"])),
            booster=name,
            objective=objective,
            task=task,
            output=output,
            outputs=outputs,
            count=count,
            names=list(learner.get("feature_names") or ()) or None,
            base=_base(parameters["base_score"], output, outputs),
            trees=model["trees"][:kept],
            weights=[float(w) for w in booster["weight_drop"][:kept]] if name == "dart" else [1.0] * kept,
            tree_output=tree_output[:kept],
            levels=_levels(learner.get("feature_types") or (), model.get("cats") or {}),
            rounds=rounds,
            all_rounds=len(ends),
        )
    except (KeyError, TypeError, IndexError, ValueError) as e:
        raise ConversionError("XGBoost file", f"its document lacks {e}", "save it with a current XGBoost") from e


def _document(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data) if data[1:2] in (b'"', b"\n", b" ", b"\r") else ubjson.read(data)
    except (ValueError, RecursionError) as e:
        raise ConversionError("XGBoost file", "it is neither JSON nor UBJSON", "save it as .json or .ubj") from e
    if not isinstance(found, dict) or "learner" not in found:
        raise ConversionError("XGBoost file", "it is no model of XGBoost", "save it with booster.save_model")
    return found


def _refuse(booster: str, objective: str, parameters: Mapping[str, Any]) -> None:
    if booster not in ("gbtree", "dart"):
        raise ConversionError(f"XGBoost {booster}", "only trees can be imported", "train it with booster=gbtree")
    if objective not in _OBJECTIVES:
        raise ConversionError(
            f"XGBoost objective {objective}", "the format has no such output",
            f"these can be imported: {', '.join(_OBJECTIVES)}",
        )  # fmt: skip
    if int(parameters.get("num_target", "1")) > 1:
        raise ConversionError("XGBoost multi-output", "a model answers for one label", "train one model for each")


def _rounds(model: Mapping[str, Any], outputs: int) -> list[int]:
    """Return how many trees there are after each round."""
    parameters = model["gbtree_model_param"]
    count = int(parameters["num_trees"])
    if count != len(model["trees"]):
        raise damaged("XGBoost file", f"it claims {count} trees and has {len(model['trees'])}")
    found = model.get("iteration_indptr")
    if found is not None and len(found):
        ends = [int(end) for end in found]
        if ends != sorted(ends) or (ends[0], ends[-1]) != (0, count):
            raise damaged("XGBoost file", "its rounds are not those of its trees")
        return ends[1:]
    step = outputs * max(1, int(parameters.get("num_parallel_tree", "1")))
    return list(range(step, count + 1, step))


def _base(text: str, output: str, outputs: int) -> Any:
    """Return the base scores, which stand in the file as probability, mean or score in decimal digits of float32."""
    found = np.array(json.loads(text), dtype=np.float32).astype(np.float64).reshape(-1)
    if output == "sigmoid":
        found = np.array([math.log(p / (1.0 - p)) for p in found])
    elif output == "exp":
        found = np.array([math.log(mean) for mean in found])
    return np.broadcast_to(found, (outputs,))


def _levels(types: Sequence[str], cats: Mapping[str, Any]) -> dict[int, Sequence[Any] | None]:
    encodings = cats.get("enc") or []
    found: dict[int, Sequence[Any] | None] = {}
    for index, kind in enumerate(types):
        if kind == "c":
            found[index] = _own_levels(encodings[index]) if index < len(encodings) else None
    return found


def _own_levels(encoding: Mapping[str, Any]) -> Sequence[Any] | None:
    values = np.asarray(encoding["values"])
    if len(values) == 0:
        return None
    if "offsets" not in encoding:
        return [v.item() for v in values]
    raw, ends = values.astype(np.int8).tobytes(), [int(o) for o in encoding["offsets"]]
    return [raw[a:b].decode("utf-8") for a, b in itertools.pairwise(ends)]


# --- XGBoost's own answers ---------------------------------------------------------------------------------------


def _native(booster: Any, document: Document, names: Sequence[str], schema: Schema) -> Native:
    import xgboost  # noqa: PLC0415 - whose model this is

    levels = {names[index]: own for index, own in document.levels.items() if own is not None}
    called = document.names or [f"f{i}" for i in range(document.count)]
    span = (0, document.rounds)

    def matrix(rows: Mapping[str, Sequence[Any]]) -> Any:
        frame = frame_of(rows, names, called, schema, levels=levels)
        types = ["c" if index in document.levels else "float" for index in range(document.count)]
        return xgboost.DMatrix(frame, feature_names=list(called), feature_types=types, enable_categorical=True)

    def answer(rows: Mapping[str, Sequence[Any]]) -> Any:
        margin = booster.predict(matrix(rows), output_margin=True, iteration_range=span, validate_features=False)
        return _answer(document, np.asarray(margin, dtype=np.float64).reshape(-1, document.outputs))

    def exact(rows: Mapping[str, Sequence[Any]]) -> Any:
        leaves = booster.predict(matrix(rows), pred_leaf=True, iteration_range=span, validate_features=False)
        leaves = np.asarray(leaves, dtype=np.int64).reshape(len(leaves), -1)
        scores = np.tile(document.base, (len(leaves), 1))
        for index, (tree, weight, k) in enumerate(
            zip(document.trees, document.weights, document.tree_output, strict=True)
        ):
            scores[:, k] += leaf_values(tree, weight)[leaves[:, index]]
        return _answer(document, scores)

    return Native(answer, exact, single=True)


def _answer(document: Document, scores: Any) -> Any:
    """Return probabilities or values of scores (rows, K), by numpy alone."""
    if document.output == "sigmoid":
        return both(1.0 / (1.0 + np.exp(-scores[:, 0])))
    if document.output == "softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    return np.exp(scores[:, 0]) if document.output == "exp" else scores[:, 0]
