"""The parts of a model as frozen dataclasses: what the trainer builds, the codec writes and the predictor runs.

A model is one pipeline or a weighted blend of pipelines. A pipeline is *preprocessing* (steps, each turning one
named column into one or more columns of a float64 matrix) and *one estimator* on that matrix, so the trees of a
blend may read other columns than its linear part. Arrays are copied in, made little-endian and read-only. The
dataclasses hold, they do not judge: :func:`trainyard.model.checks.check` does, in ``encode`` and ``decode`` alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.schema import Schema

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]
ByteArray = npt.NDArray[np.uint8]
ClassLabel = str | int | bool

TASKS = ("binary", "multiclass", "regression")
ACTIVATIONS = ("identity", "relu", "tanh", "gelu")
OUTPUTS = ("identity", "sigmoid", "softmax", "exp")
AGGREGATIONS = ("sum", "mean")
DATE_PARTS = (
    "year",
    "month",
    "day",
    "weekday",  # Monday is 0
    "day_of_year",
    "hour",
    "minute",
    "month_sin",
    "month_cos",
    "weekday_sin",
    "weekday_cos",
    "hour_sin",
    "hour_cos",
    "epoch_days",  # days since 1970-01-01, with the fraction of a timestamp
)


def _set_array(owner: object, name: str, dtype: str, ndim: int) -> None:
    """Replace the attribute by a read-only little-endian copy with ``ndim`` axes; ValueError where it cannot be."""
    given = np.asarray(getattr(owner, name))
    if given.ndim != ndim:
        raise ValueError(f"{type(owner).__name__}.{name} has {given.ndim} axes, not {ndim}")
    wanted = np.dtype(dtype)
    if given.flags.writeable or given.dtype != wanted or not given.flags.c_contiguous:
        cast = given.astype(wanted, order="C", copy=True)
        if wanted.kind in "iu" and not np.array_equal(cast, given):
            raise ValueError(f"{type(owner).__name__}.{name} does not fit {wanted.name}")
        cast.setflags(write=False)
        given = cast
    object.__setattr__(owner, name, given)


# --- preprocessing: one column in, ``width`` matrix columns out ----------------------------------------------


@dataclass(frozen=True, eq=False)
class Number:
    """A bool (0/1), int or float column: ``((impute if missing) - center) / scale``, then cut to +-``clip``.

    With ``impute=None`` a missing value stays NaN, which only trees can take.
    """

    column: str
    impute: float | None = None
    center: float = 0.0
    scale: float = 1.0
    clip: float | None = None

    @property
    def width(self) -> int:
        """Matrix columns that the step makes."""
        return 1


@dataclass(frozen=True, eq=False)
class IsMissing:
    """1.0 where the column (of any type) is missing, else 0.0."""

    column: str

    @property
    def width(self) -> int:
        """Matrix columns that the step makes."""
        return 1


@dataclass(frozen=True, eq=False)
class OneHot:
    """A category or text column: one 0/1 column for each level, in order.

    ``other`` adds a column for levels not in the list, ``missing`` one for missing values; without them such
    values are all zeros.
    """

    column: str
    levels: tuple[str, ...]
    other: bool = True
    missing: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))

    @property
    def width(self) -> int:
        """Matrix columns that the step makes."""
        return len(self.levels) + self.other + self.missing


@dataclass(frozen=True, eq=False)
class TableEncoding:
    """A category or text column looked up in a table: target means, frequencies, ranks or codes.

    Shapes: ``table`` (levels, width), ``unknown`` (width,) for levels not in the list (the prior, usually),
    ``missing`` (width,). Smoothing and out-of-fold means are the trainer's business: the table holds the result.
    """

    column: str
    levels: tuple[str, ...]
    table: FloatArray
    unknown: FloatArray
    missing: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        _set_array(self, "table", "<f8", 2)
        _set_array(self, "unknown", "<f8", 1)
        _set_array(self, "missing", "<f8", 1)

    @property
    def width(self) -> int:
        """Matrix columns that the step makes."""
        return len(self.unknown)


@dataclass(frozen=True, eq=False)
class DateParts:
    """A date or timestamp (in UTC) column: ``((impute if missing) - center) / scale`` for each of its parts.

    Shapes: ``center``, ``scale`` and ``impute`` (parts,); ``impute=None`` keeps NaN, for trees. The sine and
    cosine parts are for linear models and networks, the plain ones for trees.
    """

    column: str
    parts: tuple[str, ...]
    impute: FloatArray | None = None
    center: FloatArray | None = None
    scale: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        for name in ("impute", "center", "scale"):
            if getattr(self, name) is not None:
                _set_array(self, name, "<f8", 1)

    @property
    def width(self) -> int:
        """Matrix columns that the step makes."""
        return len(self.parts)


Step = Number | IsMissing | OneHot | TableEncoding | DateParts

# --- estimators: a matrix (rows, D) in, scores (rows, K) out ---------------------------------------------------
# K is 1 for binary (the score of classes[1]) and regression, the number of classes for multiclass. ``output`` turns
# scores into probabilities or values: sigmoid (binary), softmax (multiclass), identity or exp (regression); a
# classifier whose scores already are probabilities (a forest) also says identity.


@dataclass(frozen=True, eq=False)
class Linear:
    """``bias + matrix @ weights``; shapes: weights (D, K), bias (K,)."""

    weights: FloatArray
    bias: FloatArray
    output: str

    def __post_init__(self) -> None:
        _set_array(self, "weights", "<f8", 2)
        _set_array(self, "bias", "<f8", 1)


@dataclass(frozen=True, eq=False)
class Dense:
    """One layer, ``activation(bias + input @ weights)``; shapes: weights (in, out), bias (out,).

    Activations: identity, relu, tanh, gelu (the tanh form).
    """

    weights: FloatArray
    bias: FloatArray
    activation: str

    def __post_init__(self) -> None:
        _set_array(self, "weights", "<f8", 2)
        _set_array(self, "bias", "<f8", 1)


@dataclass(frozen=True, eq=False)
class NeuralNetwork:
    """Dense layers one after the other; the last one makes the K scores."""

    layers: tuple[Dense, ...]
    output: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))


@dataclass(frozen=True, eq=False)
class TreeEnsemble:
    """Binary decision trees in flat node arrays, T trees and N nodes in all.

    Tree ``t`` owns the nodes ``tree_start[t] .. tree_start[t + 1] - 1`` (the last one up to N - 1), its root first.
    An inner node sends a row to ``left`` when ``x[feature] <= threshold`` in float64, else to ``right``; a missing
    value (NaN) goes left where ``default_left`` is 1, else right. Children have larger indexes than their parent
    and every node but the root has exactly one parent.

    Shapes: tree_start (T,); feature, threshold, left, right, default_left (N,); value (N, V); tree_output (T,);
    base (K,). ``feature`` is a matrix column, -1 at a leaf; ``left`` and ``right`` are node indexes in the whole
    arrays, -1 at a leaf; ``threshold`` and ``default_left`` are 0 at a leaf, ``value`` is 0 at an inner node.

    V = 1: the leaf value of tree t is added to output ``tree_output[t]`` (boosting: one tree per class and round).
    V = K: a leaf holds one value for each output and ``tree_output`` is all 0 (forests).
    Output k is ``base[k]`` + the sum, in tree order, or the mean of its trees' leaf values.
    """

    tree_start: IntArray
    feature: IntArray
    threshold: FloatArray
    left: IntArray
    right: IntArray
    default_left: ByteArray
    value: FloatArray
    tree_output: IntArray
    base: FloatArray
    aggregation: str
    output: str

    def __post_init__(self) -> None:
        for name in ("tree_start", "feature", "left", "right", "tree_output"):
            _set_array(self, name, "<i4", 1)
        _set_array(self, "threshold", "<f8", 1)
        _set_array(self, "default_left", "|u1", 1)
        _set_array(self, "value", "<f8", 2)
        _set_array(self, "base", "<f8", 1)


Estimator = Linear | NeuralNetwork | TreeEnsemble

# --- the model -------------------------------------------------------------------------------------------------


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
    weights: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        _set_array(self, "weights", "<f8", 1)


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
    expected: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        _set_array(self, "expected", "<f8", 2)


@dataclass(frozen=True, eq=False)
class Model:
    """One version of a model, complete in itself.

    ``schema`` holds at least every column that a step reads, with role feature; its other columns (key, label …)
    are accepted and not read at prediction. ``classes`` is () for regression, (negative, positive) for binary.
    ``temperature`` (None = not calibrated) divides the logits of the blended probabilities. ``threshold`` is the
    probability of ``classes[1]`` from which on a binary model answers ``classes[1]``; 0.5 elsewhere.
    ``metrics`` are names and numbers for people.
    """

    name: str
    task: str
    schema: Schema
    pipeline: Pipeline | Blend
    classes: tuple[ClassLabel, ...]
    lineage: Lineage
    temperature: float | None = None
    threshold: float = 0.5
    metrics: Mapping[str, float] = field(default_factory=dict)
    golden: Golden | None = None

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
