"""What a conversion gives: the parts of a model, and how the library itself answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard_convert.errors import ConversionError

if TYPE_CHECKING:
    from trainyard.model.dto import Blend, Calibration, ClassLabel, FloatArray, Pipeline
    from trainyard.schema import Column, Schema

#: clean columns by name -> probabilities (rows, classes) or values (rows,), in the order of the classes
Answer = Callable[[Mapping[str, Sequence[Any]]], "FloatArray"]


@dataclass(frozen=True, eq=False)
class Native:
    """The library's own answers.

    Attributes:
        answer: with all that the library's arithmetic does.
        exact: the same with the sums in float64, where the library adds in float32 and tells which leaves it adds.
        single: the library's arithmetic is in float32.
    """

    answer: Answer
    exact: Answer | None = None
    single: bool = False


@dataclass(frozen=True, eq=False)
class Converted:
    """A model that became data.

    Attributes:
        library: name and version of what made it, as far as it says: ``("xgboost", "3.2.0")``.
        kind: what it was, in its library's words.
        schema: the columns that it reads; one is not nullable where the library takes no missing value.
        classes: () for regression, (negative, positive) for binary.
        native: how the library answers; None where only a text was given.
        notes: what a person should know, such as where early stopping ended.
    """

    library: tuple[str, str]
    kind: str
    task: str
    schema: Schema
    pipeline: Pipeline | Blend
    classes: tuple[ClassLabel, ...]
    calibration: Calibration | None = None
    threshold: float = 0.5
    native: Native | None = None
    notes: tuple[str, ...] = ()


def labels_of(found: Sequence[Any], column: Column | None, library: str) -> tuple[ClassLabel, ...]:
    """Return a library's classes as those of the dataset's label ``column``; without one as they are.

    Raises:
        ConversionError: a class is no value of that column.
    """
    plain = [c.item() if isinstance(c, np.generic) else c for c in found]
    labels = tuple(_label(c, None if column is None else column.type, library) for c in plain)
    if len(set(labels)) != len(labels) or len({type(c) for c in labels}) > 1:
        raise ConversionError(f"{library} classes", f"{plain!r} are not classes of one type")
    return labels


def _label(value: Any, kind: str | None, library: str) -> ClassLabel:
    whole = isinstance(value, bool | int) or (isinstance(value, float) and value.is_integer())
    if kind == "bool" and whole and value in (0, 1):
        return bool(value)
    if kind in ("category", "text") and isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    if kind in ("int", "float") and whole:
        return int(value)
    if kind is None and isinstance(value, str | int | bool):
        return value
    if kind is None and whole:
        return int(value)
    what = "no text, whole number or truth value" if kind is None else f"no value of the dataset's label, a {kind}"
    raise ConversionError(f"{library} class {value!r}", f"it is {what}", "fit it on the dataset's own labels")


def counted(classes: Sequence[Any] | None, count: int) -> list[Any]:
    """Return the classes that were given for a model that only counts them, or 0, 1, ...

    Raises:
        ConversionError: it has another number of classes.
    """
    if classes is None:
        return list(range(count))
    if len(classes) != count:
        raise ConversionError("classes", f"the model has {count} classes, not {len(classes)}")
    return list(classes)


def both(p: FloatArray) -> FloatArray:
    """Return the probabilities of both classes, (rows, 2), from those of the second, (rows,)."""
    return np.column_stack([1.0 - p, p])
