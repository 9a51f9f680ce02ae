"""What must hold between the parts of a model, beyond the form of each: the same rules for writing and reading."""

from __future__ import annotations

import math
import re

import numpy as np

from trainyard.errors import ArtifactError
from trainyard.model.dto import (
    ACTIVATIONS,
    AGGREGATIONS,
    DATE_PARTS,
    OUTPUTS,
    TASKS,
    Blend,
    DateParts,
    Golden,
    IntArray,
    IsMissing,
    Lineage,
    Linear,
    Model,
    NeuralNetwork,
    Number,
    OneHot,
    Pipeline,
    Step,
    TableEncoding,
    TreeEnsemble,
)

MAX_CLASSES = 1_000
MAX_MEMBERS = 16
MAX_STEPS = 4_000
MAX_WIDTH = 10_000
MAX_LAYERS = 16
MAX_UNITS = 4_096
MAX_TREES = 5_000
MAX_NODES = 10_000_000
MAX_TREE_DEPTH = 256
MAX_GOLDEN_ROWS = 32
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: task -> outputs that an estimator may have
_OUTPUTS_OF = {
    "binary": ("sigmoid", "identity"),
    "multiclass": ("softmax", "identity"),
    "regression": ("identity", "exp"),
}
_STRINGS = ("category", "text")
_NUMBERS = ("bool", "int", "float")
_TIMES = ("date", "timestamp")
_ANY = (*_STRINGS, *_NUMBERS, *_TIMES)


def check(model: Model) -> None:
    """Raise ``ArtifactError`` for the first rule that the model breaks; its values are of the right types already."""
    _require(_NAME.fullmatch(model.name) is not None, "bad_name", "the name is not [a-z][a-z0-9_-]{0,62}")
    _require(model.task in TASKS, "unknown_kind", f"the task is not one of {', '.join(TASKS)}")
    _check_classes(model)
    _check_decision(model)
    _check_lineage(model.lineage)
    finite = all(math.isfinite(v) for v in model.metrics.values())
    _require(finite, "not_finite", "a metric is not finite")
    _check_members(model)
    for member in model.members:
        _check_pipeline(model, member)
    if model.golden is not None:
        _check_golden(model, model.golden)


def _require(holds: bool, code: str, message: str) -> None:
    if not holds:
        raise ArtifactError(code, message)


def _check_classes(model: Model) -> None:
    classes = model.classes
    low, high = {"binary": (2, 2), "multiclass": (2, MAX_CLASSES), "regression": (0, 0)}[model.task]
    _require(low <= len(classes) <= high, "bad_classes", f"{model.task} takes {low} to {high} classes")
    _require(len({type(c) for c in classes}) <= 1, "bad_classes", "the classes are of different types")
    _require(len(set(classes)) == len(classes), "bad_classes", "a class appears twice")


def _check_decision(model: Model) -> None:
    _require(0.0 <= model.threshold <= 1.0, "bad_threshold", "the decision threshold is not within 0 and 1")
    _require(model.task == "binary" or model.threshold == 0.5, "bad_threshold", "only binary models have a threshold")
    temperature = model.temperature
    if temperature is not None:
        _require(model.task != "regression", "bad_temperature", "a regression has no temperature")
        _require(0.001 <= temperature <= 1000.0, "bad_temperature", "the temperature is not within 0.001 and 1000")


def _check_lineage(lineage: Lineage) -> None:
    numbers = (lineage.snapshot_upto_seq, lineage.snapshot_rows, lineage.seed)
    _require(lineage.dataset != "", "bad_lineage", "the dataset has no name")
    _require(all(n >= 0 for n in numbers), "bad_lineage", "a sequence number, row count or seed is negative")
    _require(_SHA256.fullmatch(lineage.snapshot_sha256) is not None, "bad_lineage", "the snapshot hash is no SHA-256")


def _check_members(model: Model) -> None:
    blend = model.pipeline
    if not isinstance(blend, Blend):
        return
    n = len(blend.members)
    _require(1 <= n <= MAX_MEMBERS, "limit_exceeded", f"a blend has 1 to {MAX_MEMBERS} members")
    _require(len(blend.weights) == n, "shape_mismatch", "a blend has one weight for each member")
    right = bool((blend.weights > 0).all()) and abs(float(blend.weights.sum()) - 1.0) <= 1e-9
    _require(right, "bad_weights", "the weights of a blend are positive and sum to 1")


def _check_golden(model: Model, golden: Golden) -> None:
    n = len(golden.rows)
    _require(1 <= n <= MAX_GOLDEN_ROWS, "bad_golden", f"a model has 1 to {MAX_GOLDEN_ROWS} golden rows")
    wanted = (n, max(1, len(model.classes)))
    _require(golden.expected.shape == wanted, "bad_golden", f"the expected outputs are not of shape {wanted}")


# --- pipelines ---------------------------------------------------------------------------------------------------


def _check_pipeline(model: Model, pipeline: Pipeline) -> None:
    _require(1 <= len(pipeline.steps) <= MAX_STEPS, "limit_exceeded", f"a pipeline has 1 to {MAX_STEPS} steps")
    for step in pipeline.steps:
        _check_step(model, step)
    _require(1 <= pipeline.width <= MAX_WIDTH, "limit_exceeded", f"a matrix has 1 to {MAX_WIDTH} columns")
    estimator = pipeline.estimator
    _require(estimator.output in OUTPUTS, "unknown_kind", f"the output is not one of {', '.join(OUTPUTS)}")
    _require(
        estimator.output in _OUTPUTS_OF[model.task], "bad_output", f"{estimator.output} is no output of {model.task}"
    )
    if isinstance(estimator, TreeEnsemble):
        _check_trees(estimator, pipeline.width, model.n_outputs)
        return
    leaky = [s.column for s in pipeline.steps if isinstance(s, Number | DateParts) and s.impute is None]
    _require(not leaky, "missing_not_handled", "only trees take missing values: each number needs an impute value")
    if isinstance(estimator, Linear):
        _check_affine(estimator.weights.shape, estimator.bias.shape, (pipeline.width, model.n_outputs))
    else:
        _check_network(estimator, pipeline.width, model.n_outputs)


def _check_step(model: Model, step: Step) -> None:
    _require(step.column in model.schema, "unknown_column", "a step reads a column that the schema does not have")
    column = model.schema.column(step.column)
    _require(column.role == "feature", "unknown_column", "a step reads a column that is not a feature")
    _require(column.type in _types_of(step), "column_type", f"a step cannot read a column of type {column.type}")
    if isinstance(step, Number):
        numbers = [v for v in (step.impute, step.center, step.scale, step.clip) if v is not None]
        _require(all(math.isfinite(v) for v in numbers), "not_finite", "a number step holds NaN or infinity")
        _require(step.scale > 0, "bad_scale", "a scale is not positive")
        _require(step.clip is None or step.clip > 0, "bad_scale", "a clip is not positive")
    elif isinstance(step, DateParts):
        _check_date_parts(step)
    elif isinstance(step, OneHot | TableEncoding):
        _require(len(set(step.levels)) == len(step.levels), "bad_levels", "a level appears twice")
        if isinstance(step, TableEncoding):
            width = step.width
            _require(width >= 1 and step.missing.shape == (width,), "shape_mismatch", "the encoding has no width")
            _require(step.table.shape == (len(step.levels), width), "shape_mismatch", "one table row for each level")


def _types_of(step: Step) -> tuple[str, ...]:
    """Return the column types that the step can read."""
    if isinstance(step, Number):
        return _NUMBERS
    if isinstance(step, IsMissing):
        return _ANY
    return _TIMES if isinstance(step, DateParts) else _STRINGS


def _check_date_parts(step: DateParts) -> None:
    _require(all(p in DATE_PARTS for p in step.parts), "unknown_kind", f"date parts are {', '.join(DATE_PARTS)}")
    _require(0 < len(step.parts) == len(set(step.parts)), "bad_levels", "a date part appears twice, or none does")
    for array in (step.impute, step.center, step.scale):
        _require(array is None or len(array) == step.width, "shape_mismatch", "one number for each date part")
    _require(step.scale is None or bool((step.scale > 0).all()), "bad_scale", "a scale is not positive")


# --- estimators --------------------------------------------------------------------------------------------------


def _check_affine(weights: tuple[int, ...], bias: tuple[int, ...], wanted: tuple[int, int]) -> None:
    _require(weights == wanted and bias == wanted[1:], "shape_mismatch", f"weights of {weights} instead of {wanted}")


def _check_network(network: NeuralNetwork, width: int, n_outputs: int) -> None:
    _require(1 <= len(network.layers) <= MAX_LAYERS, "limit_exceeded", f"a network has 1 to {MAX_LAYERS} layers")
    for index, layer in enumerate(network.layers):
        units = n_outputs if index == len(network.layers) - 1 else len(layer.bias)
        _require(1 <= units <= MAX_UNITS, "limit_exceeded", f"a layer has 1 to {MAX_UNITS} units")
        _require(layer.activation in ACTIVATIONS, "unknown_kind", f"activations are {', '.join(ACTIVATIONS)}")
        _check_affine(layer.weights.shape, layer.bias.shape, (width, units))
        width = units


def _check_trees(trees: TreeEnsemble, width: int, n_outputs: int) -> None:
    n_trees, n_nodes = len(trees.tree_start), len(trees.feature)
    _require(1 <= n_trees <= MAX_TREES, "limit_exceeded", f"an ensemble has 1 to {MAX_TREES} trees")
    _require(n_trees <= n_nodes <= MAX_NODES, "limit_exceeded", f"an ensemble has at most {MAX_NODES} nodes")
    arrays = (trees.threshold, trees.left, trees.right, trees.default_left, trees.value)
    _require(all(len(a) == n_nodes for a in arrays), "shape_mismatch", "the node arrays are not of equal length")
    _require(trees.aggregation in AGGREGATIONS, "unknown_kind", f"aggregations are {', '.join(AGGREGATIONS)}")
    _require(trees.base.shape == (n_outputs,), "shape_mismatch", "one base score for each output")
    _require(trees.tree_output.shape == (n_trees,), "shape_mismatch", "one output for each tree")
    n_values = trees.value.shape[1]
    _require(n_values in (1, n_outputs), "shape_mismatch", "a leaf holds one value, or one for each output")
    high = n_outputs if n_values == 1 else 1
    right = bool(((trees.tree_output >= 0) & (trees.tree_output < high)).all())
    _require(right, "bad_tree", "a tree adds to an output that does not exist")
    finite = all(bool(np.isfinite(a).all()) for a in (trees.threshold, trees.value, trees.base))
    _require(finite, "not_finite", "the trees hold NaN or infinity")
    _check_nodes(trees, width)


def _check_nodes(trees: TreeEnsemble, width: int) -> None:
    start, left, right = trees.tree_start, trees.left, trees.right
    n_nodes = len(trees.feature)
    ends = np.append(start[1:], n_nodes)
    _require(start[0] == 0 and bool((start < ends).all()), "bad_tree", "the trees do not follow each other")
    _require(bool(((trees.feature >= -1) & (trees.feature < width)).all()), "bad_tree", "a node reads no such column")
    leaf = trees.feature < 0
    unused = (left[leaf] != -1) | (right[leaf] != -1) | (trees.threshold[leaf] != 0) | (trees.default_left[leaf] != 0)
    _require(not unused.any(), "bad_tree", "a leaf has children, a threshold or a direction")
    _require(not trees.value[~leaf].any(), "bad_tree", "an inner node has a value")
    _require(bool((trees.default_left <= 1).all()), "bad_tree", "a missing direction is neither 0 nor 1")
    inner = np.flatnonzero(~leaf)
    end_of = np.repeat(ends, ends - start)[inner]
    for children in (left[inner], right[inner]):
        right_order = (children > inner) & (children < end_of)
        _require(bool(right_order.all()), "bad_tree", "a child does not come after its parent, within its tree")
    parents = np.bincount(np.concatenate([left[inner], right[inner]]), minlength=n_nodes)
    parents[start] += 1
    _require(bool((parents == 1).all()), "bad_tree", "a node has no parent, or several")
    _require(len(levels(trees)) <= MAX_TREE_DEPTH + 1, "limit_exceeded", f"a tree is deeper than {MAX_TREE_DEPTH}")


def levels(trees: TreeEnsemble) -> list[IntArray]:
    """Return the node indexes of each level, roots first; at most one level more than are allowed."""
    out = [trees.tree_start]
    while len(out) <= MAX_TREE_DEPTH + 1:
        inner = out[-1][trees.feature[out[-1]] >= 0]
        if len(inner) == 0:
            break
        out.append(np.concatenate([trees.left[inner], trees.right[inner]]))
    return out
