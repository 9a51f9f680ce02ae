"""What must hold for each step of a pipeline, and between it and the schema."""

from __future__ import annotations

import math
from itertools import pairwise

from trainyard.model.rules import require
from trainyard.model.steps import (
    DATE_PARTS,
    OPERATIONS,
    TRANSFORMS,
    DateParts,
    IsMissing,
    Number,
    OneHot,
    Pair,
    Quantile,
    Step,
    TableEncoding,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trainyard.schema import Schema

MAX_POINTS = 10_000
_STRINGS = ("category", "text")
_NUMBERS = ("bool", "int", "float")
_TIMES = ("date", "timestamp")
_ANY = (*_STRINGS, *_NUMBERS, *_TIMES)


def takes_missing(step: Step) -> bool:
    """Tell whether a missing value may come out as NaN."""
    if isinstance(step, Number | Pair | Quantile | DateParts):
        return step.impute is None
    return isinstance(step, TableEncoding) and (step.unknown is None or step.missing is None)


def check_step(schema: Schema, step: Step) -> None:
    """Raise ``ArtifactError`` for the first rule that the step breaks; its values are of the right types already."""
    for name in step.columns:
        require(name in schema, "unknown_column", "a step reads a column that the schema does not have")
        column = schema.column(name)
        require(column.role == "feature", "unknown_column", "a step reads a column that is not a feature")
        require(column.type in _types_of(step), "column_type", f"a step cannot read a column of type {column.type}")
    if isinstance(step, Number | Pair):
        _check_number(step)
    elif isinstance(step, Quantile):
        _check_quantile(step)
    elif isinstance(step, DateParts):
        _check_date_parts(step)
    elif isinstance(step, OneHot | TableEncoding):
        _check_levels(step)


def _types_of(step: Step) -> tuple[str, ...]:
    """Return the column types that the step can read."""
    if isinstance(step, Number | Quantile | Pair):
        return _NUMBERS
    if isinstance(step, IsMissing):
        return _ANY
    return _TIMES if isinstance(step, DateParts) else _STRINGS


def _check_number(step: Number | Pair) -> None:
    if isinstance(step, Number):
        require(step.transform in TRANSFORMS, "unknown_kind", f"transforms are {', '.join(TRANSFORMS)}")
    else:
        require(step.operation in OPERATIONS, "unknown_kind", f"operations are {', '.join(OPERATIONS)}")
    numbers = [v for v in (step.impute, step.center, step.scale, step.clip) if v is not None]
    require(all(map(math.isfinite, numbers)), "not_finite", "a number step holds NaN or infinity")
    require(step.scale > 0, "bad_scale", "a scale is not positive")
    require(step.clip is None or step.clip > 0, "bad_scale", "a clip is not positive")


def _check_quantile(step: Quantile) -> None:
    fits = 2 <= len(step.at) <= MAX_POINTS and len(step.at) == len(step.to)
    require(fits, "shape_mismatch", f"a scale has 2 to {MAX_POINTS} points")
    require(all(a < b for a, b in pairwise(step.at.tolist())), "bad_scale", "the points of a scale do not rise")
    require(step.impute is None or math.isfinite(step.impute), "not_finite", "a quantile step holds NaN or infinity")


def _check_levels(step: OneHot | TableEncoding) -> None:
    require(len(set(step.levels)) == len(step.levels), "bad_levels", "a level appears twice")
    if isinstance(step, TableEncoding):
        rows = (step.unknown, step.missing)
        fits = step.width >= 1 and all(row is None or row.shape == (step.width,) for row in rows)
        require(fits, "shape_mismatch", "the encoding has no width, or several")
        require(len(step.table) == len(step.levels), "shape_mismatch", "one table row for each level")


def _check_date_parts(step: DateParts) -> None:
    require(all(p in DATE_PARTS for p in step.parts), "unknown_kind", f"date parts are {', '.join(DATE_PARTS)}")
    require(0 < len(step.parts) == len(set(step.parts)), "bad_levels", "a date part appears twice, or none does")
    for array in (step.impute, step.center, step.scale):
        require(array is None or len(array) == step.width, "shape_mismatch", "one number for each date part")
    require(step.scale is None or step.scale.lowest > 0, "bad_scale", "a scale is not positive")
