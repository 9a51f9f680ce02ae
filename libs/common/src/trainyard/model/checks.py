"""What must hold between the parts of a model, beyond the form of each: the same rules for writing and reading."""

from __future__ import annotations

import math
import re
from itertools import pairwise

from trainyard.model.check_steps import check_step, takes_missing
from trainyard.model.check_trees import check_trees
from trainyard.model.dto import (
    ACTIVATIONS,
    OUTPUTS,
    TASKS,
    Blend,
    Golden,
    Isotonic,
    Lineage,
    Linear,
    Model,
    NeuralNetwork,
    Pipeline,
    Platt,
    Temperature,
)
from trainyard.model.ensembles import TreeEnsemble
from trainyard.model.rules import require

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trainyard.model.arrays import Array

MAX_CLASSES = 1_000
MAX_MEMBERS = 16
MAX_STEPS = 4_000
MAX_WIDTH = 10_000
MAX_LAYERS = 16
MAX_UNITS = 4_096
MAX_POINTS = 10_000
MAX_GOLDEN_ROWS = 32
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: task -> outputs that an estimator may have
_OUTPUTS_OF = {
    "binary": ("sigmoid", "identity"),
    "multiclass": ("softmax", "identity"),
    "regression": ("identity", "exp"),
}


def check(model: Model) -> None:
    """Raise ``ArtifactError`` for the first rule that the model breaks; its values are of the right types already."""
    require(_NAME.fullmatch(model.name) is not None, "bad_name", "the name is not [a-z][a-z0-9_-]{0,62}")
    require(model.task in TASKS, "unknown_kind", f"the task is not one of {', '.join(TASKS)}")
    _check_classes(model)
    _check_decision(model)
    _check_lineage(model.lineage)
    finite = all(math.isfinite(v) for v in model.metrics.values())
    require(finite, "not_finite", "a metric is not finite")
    _check_members(model)
    for member in model.members:
        _check_pipeline(model, member)
    if model.golden is not None:
        _check_golden(model, model.golden)


def _check_classes(model: Model) -> None:
    classes = model.classes
    low, high = {"binary": (2, 2), "multiclass": (2, MAX_CLASSES), "regression": (0, 0)}[model.task]
    require(low <= len(classes) <= high, "bad_classes", f"{model.task} takes {low} to {high} classes")
    require(len({type(c) for c in classes}) <= 1, "bad_classes", "the classes are of different types")
    require(len(set(classes)) == len(classes), "bad_classes", "a class appears twice")


def _check_decision(model: Model) -> None:
    require(0.0 <= model.threshold <= 1.0, "bad_threshold", "the decision threshold is not within 0 and 1")
    require(model.task == "binary" or model.threshold == 0.5, "bad_threshold", "only binary models have a threshold")
    if model.calibration is not None:
        _check_calibration(model)


def _check_calibration(model: Model) -> None:
    calibration = model.calibration
    require(model.task != "regression", "bad_calibration", "a regression has no calibration")
    if isinstance(calibration, Temperature):
        bounded = 0.001 <= calibration.temperature <= 1000.0
        require(bounded, "bad_calibration", "the temperature is not within 0.001 and 1000")
        return
    require(model.task == "binary", "bad_calibration", "only temperatures calibrate more than two classes")
    if isinstance(calibration, Platt):
        bounded = 0.001 <= calibration.slope <= 1000.0 and abs(calibration.intercept) <= 1000.0
        require(bounded, "bad_calibration", "the slope is not within 0.001 and 1000, or the intercept not within ±1000")
    if isinstance(calibration, Isotonic):
        points = len(calibration.at)
        fits = 2 <= points <= MAX_POINTS and points == len(calibration.to)
        require(fits, "bad_calibration", f"a curve has 2 to {MAX_POINTS} points")
        at, to = calibration.at.tolist(), calibration.to.tolist()
        within = all(0.0 <= p <= 1.0 for p in (at[0], at[-1], to[0], to[-1]))
        rising = all(a < b for a, b in pairwise(at)) and all(a <= b for a, b in pairwise(to))
        require(within and rising, "bad_calibration", "the points do not rise within 0 and 1")


def _check_lineage(lineage: Lineage) -> None:
    numbers = (lineage.snapshot_upto_seq, lineage.snapshot_rows, lineage.seed)
    require(lineage.dataset != "", "bad_lineage", "the dataset has no name")
    require(all(n >= 0 for n in numbers), "bad_lineage", "a sequence number, row count or seed is negative")
    require(_SHA256.fullmatch(lineage.snapshot_sha256) is not None, "bad_lineage", "the snapshot hash is no SHA-256")


def _check_members(model: Model) -> None:
    blend = model.pipeline
    if not isinstance(blend, Blend):
        return
    n = len(blend.members)
    require(1 <= n <= MAX_MEMBERS, "limit_exceeded", f"a blend has 1 to {MAX_MEMBERS} members")
    require(len(blend.weights) == n, "shape_mismatch", "a blend has one weight for each member")
    weights = blend.weights.tolist()
    right = all(weight > 0 for weight in weights) and abs(sum(weights) - 1.0) <= 1e-9
    require(right, "bad_weights", "the weights of a blend are positive and sum to 1")


def _check_golden(model: Model, golden: Golden) -> None:
    n = len(golden.rows)
    require(1 <= n <= MAX_GOLDEN_ROWS, "bad_golden", f"a model has 1 to {MAX_GOLDEN_ROWS} golden rows")
    wanted = (n, max(1, len(model.classes)))
    require(golden.expected.shape == wanted, "bad_golden", f"the expected outputs are not of shape {wanted}")


# --- pipelines ---------------------------------------------------------------------------------------------------


def _check_pipeline(model: Model, pipeline: Pipeline) -> None:
    require(1 <= len(pipeline.steps) <= MAX_STEPS, "limit_exceeded", f"a pipeline has 1 to {MAX_STEPS} steps")
    for step in pipeline.steps:
        check_step(model.schema, step)
    require(1 <= pipeline.width <= MAX_WIDTH, "limit_exceeded", f"a matrix has 1 to {MAX_WIDTH} columns")
    estimator = pipeline.estimator
    require(estimator.output in OUTPUTS, "unknown_kind", f"the output is not one of {', '.join(OUTPUTS)}")
    require(
        estimator.output in _OUTPUTS_OF[model.task], "bad_output", f"{estimator.output} is no output of {model.task}"
    )
    if isinstance(estimator, TreeEnsemble):
        check_trees(estimator, pipeline.width, model.n_outputs)
        return
    leaky = any(map(takes_missing, pipeline.steps))
    require(not leaky, "missing_not_handled", "only trees take missing values: each number needs an impute value")
    _check_baseline(estimator.baseline, pipeline.width)
    if isinstance(estimator, Linear):
        _check_affine(estimator.weights.shape, estimator.bias.shape, (pipeline.width, model.n_outputs))
    else:
        _check_network(estimator, pipeline.width, model.n_outputs)


# --- estimators --------------------------------------------------------------------------------------------------


def _check_affine(weights: tuple[int, ...], bias: tuple[int, ...], wanted: tuple[int, int]) -> None:
    require(weights == wanted and bias == wanted[1:], "shape_mismatch", f"weights of {weights} instead of {wanted}")


def _check_baseline(baseline: Array | None, width: int) -> None:
    fits = baseline is None or baseline.shape == (width,)
    require(fits, "shape_mismatch", "the baseline has one number for each matrix column")


def _check_network(network: NeuralNetwork, width: int, n_outputs: int) -> None:
    require(1 <= len(network.layers) <= MAX_LAYERS, "limit_exceeded", f"a network has 1 to {MAX_LAYERS} layers")
    for index, layer in enumerate(network.layers):
        units = n_outputs if index == len(network.layers) - 1 else len(layer.bias)
        require(1 <= units <= MAX_UNITS, "limit_exceeded", f"a layer has 1 to {MAX_UNITS} units")
        require(layer.activation in ACTIVATIONS, "unknown_kind", f"activations are {', '.join(ACTIVATIONS)}")
        _check_affine(layer.weights.shape, layer.bias.shape, (width, units))
        width = units
