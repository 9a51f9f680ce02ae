"""The parts of a model as frozen dataclasses: what the trainer builds, the codec writes and the predictor runs.

A model is one pipeline or a weighted blend of pipelines. A pipeline is *preprocessing* (steps, each turning one
named column into one or more columns of a float64 matrix) and *one estimator* on that matrix, so the trees of a
blend may read other columns than its linear part. Arrays are copied in, made little-endian and read-only. The
dataclasses hold, they do not judge: :func:`trainyard.model.checks.check` does, in ``encode`` and ``decode`` alike.
"""

from __future__ import annotations

from trainyard.frozen import dataclass, field
from trainyard.model.arrays import ArrayField, OptionalArrayField
from trainyard.model.ensembles import TreeEnsemble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from trainyard.model.steps import Step
    from trainyard.schema import Schema

    FloatArray = npt.NDArray[np.float64]

ClassLabel = str | int | bool

TASKS = ("binary", "multiclass", "regression")
ACTIVATIONS = ("identity", "relu", "tanh", "gelu")
OUTPUTS = ("identity", "sigmoid", "softmax", "exp")
AGGREGATIONS = ("sum", "mean")
#: The version of the format that new models are written in (docs/model-format.md).
FORMAT_VERSION = 2


# --- estimators: a matrix (rows, D) in, scores (rows, K) out ---------------------------------------------------
# K is 1 for binary (the score of classes[1]) and regression, the number of classes for multiclass. ``output`` turns
# scores into probabilities or values: sigmoid (binary), softmax (multiclass), identity or exp (regression); a
# classifier whose scores already are probabilities (a forest) also says identity.


@dataclass(frozen=True, eq=False)
class Linear:
    """``bias + matrix @ weights``; shapes: weights (D, K), bias (K,).

    ``baseline`` (D,) is where the contributions of features start, the means of the matrix columns; None is zeros.
    """

    weights: ArrayField = ArrayField("float64", 2)
    bias: ArrayField = ArrayField("float64", 1)
    output: str = "identity"
    baseline: OptionalArrayField = OptionalArrayField("float64", 1)


@dataclass(frozen=True, eq=False)
class Dense:
    """One layer, ``activation(bias + input @ weights)``; shapes: weights (in, out), bias (out,).

    Activations: identity, relu, tanh, gelu (the tanh form).
    """

    weights: ArrayField = ArrayField("float64", 2)
    bias: ArrayField = ArrayField("float64", 1)
    activation: str = "identity"


@dataclass(frozen=True, eq=False)
class NeuralNetwork:
    """Dense layers one after the other; the last one makes the K scores. ``baseline`` (D,) as for Linear."""

    layers: tuple[Dense, ...]
    output: str
    baseline: OptionalArrayField = OptionalArrayField("float64", 1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))


Estimator = Linear | NeuralNetwork | TreeEnsemble


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Preprocessing and one estimator; the matrix columns are those of the steps, in order."""

    steps: tuple[Step, ...]
    estimator: Estimator

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))

    @property
    def width(self) -> int:
        """D, the number of matrix columns."""
        return sum(step.width for step in self.steps)


@dataclass(frozen=True, eq=False)
class Blend:
    """Weighted mean of the members' probabilities (or values); ``weights`` (members,), each > 0, sum 1."""

    members: tuple[Pipeline, ...]
    weights: ArrayField = ArrayField("float64", 1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))


# --- calibration: probabilities p in, better ones out ------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Temperature:
    """sigmoid(logit(p) / temperature), softmax(ln(p) / temperature) with several classes (Guo et al. 2017)."""

    temperature: float


@dataclass(frozen=True, eq=False)
class Platt:
    """sigmoid(slope logit(p) + intercept), for two classes; slope > 0 (Platt 1999)."""

    slope: float
    intercept: float


@dataclass(frozen=True, eq=False)
class Isotonic:
    """Straight lines between the points (``at``, ``to``) of p, flat beyond the ends, for two classes.

    Shapes: (points,), two at least; ``at`` rises, ``to`` does not fall, both within 0 and 1 (Zadrozny, Elkan 2002).
    """

    at: ArrayField = ArrayField("float64", 1)
    to: ArrayField = ArrayField("float64", 1)


Calibration = Temperature | Platt | Isotonic

# --- the model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Lineage:
    """Where a model came from: all that is needed to train it again to the same bytes.

    ``configuration`` is JSON-like: str, int, float, bool, None, lists and string-keyed mappings.
    """

    dataset: str
    snapshot_upto_seq: int
    snapshot_rows: int
    snapshot_sha256: str
    configuration: Mapping[str, Any]
    code_version: str
    seed: int
    libraries: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Golden:
    """Rows in JSON form and what the model answers to them: shape (rows, K) of probabilities, (rows, 1) of values."""

    rows: tuple[Mapping[str, Any], ...]
    expected: ArrayField = ArrayField("float64", 2)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))


@dataclass(frozen=True, eq=False)
class Model:
    """One version of a model, complete in itself.

    ``schema`` holds at least every column that a step reads, with role feature; its other columns (key, label …)
    are accepted and not read at prediction. ``classes`` is () for regression, (negative, positive) for binary.
    ``calibration`` (None = none) is of the blended probabilities. ``threshold`` is the probability of ``classes[1]``
    from which on a binary model answers ``classes[1]``; 0.5 elsewhere. ``metrics`` are names and numbers for people.
    ``format_version`` is that of the file that the model came from, and will be written in again.
    """

    name: str
    task: str
    schema: Schema
    pipeline: Pipeline | Blend
    classes: tuple[ClassLabel, ...]
    lineage: Lineage
    calibration: Calibration | None = None
    threshold: float = 0.5
    metrics: Mapping[str, float] = field(default_factory=dict)
    golden: Golden | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def members(self) -> tuple[Pipeline, ...]:
        """The pipelines, one or several."""
        return self.pipeline.members if isinstance(self.pipeline, Blend) else (self.pipeline,)

    @property
    def n_outputs(self) -> int:
        """K, the number of scores that each estimator gives."""
        return len(self.classes) if self.task == "multiclass" else 1
