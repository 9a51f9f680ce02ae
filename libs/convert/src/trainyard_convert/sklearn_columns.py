"""scikit-learn's transformers, followed column by column.

What a fitted transformer learnt is read from its public attributes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard_convert.columns import (
    Binding,
    FlagColumn,
    LevelsColumn,
    MatrixColumn,
    NumberColumn,
    TableColumn,
    affine,
)
from trainyard_convert.errors import ConversionError
from trainyard_convert.sklearn_encoders import called, is_missing, one_each, one_hot, target_means

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Input:
    """A column of the frame that nothing has read yet: it need not be one of the dataset."""

    name: str


Columns = list[Any]  # of Input and MatrixColumn


def bound(columns: Columns, binding: Binding) -> list[MatrixColumn]:
    """Return the columns with those of the frame looked up in the dataset."""
    return [binding.raw(c.name) if isinstance(c, Input) else c for c in columns]


def transformed(transformer: Any, columns: Columns, binding: Binding) -> Columns:
    """Return the columns that a fitted transformer makes of ``columns``.

    Raises:
        ConversionError: it is of a kind, or set in a way, that the format cannot say.
    """
    if transformer is None or isinstance(transformer, str):
        if transformer in (None, "passthrough"):
            return columns
        raise ConversionError(f"scikit-learn transformer {transformer!r}", "it is none")
    kind = type(transformer)
    if kind.__name__ == "ColumnTransformer" and kind.__module__.startswith("sklearn."):
        return _column_transformer(transformer, columns, binding)
    if kind.__name__ == "Pipeline" and kind.__module__.startswith("sklearn."):
        for _, step in transformer.steps:
            columns = transformed(step, columns, binding)
        return columns
    if kind.__module__.startswith("sklearn.feature_selection.") and hasattr(transformer, "get_support"):
        return [c for c, kept in zip(columns, transformer.get_support(), strict=True) if kept]
    known = _TRANSFORMERS.get(kind.__name__) if kind.__module__.startswith("sklearn.") else None
    if known is None:
        raise ConversionError(
            called(transformer), "no step of the format does what it does",
            f"these can be imported: {', '.join(sorted([*_TRANSFORMERS, 'ColumnTransformer', 'Pipeline']))}",
        )  # fmt: skip
    return known(transformer, bound(columns, binding))


def _column_transformer(transformer: Any, columns: Columns, binding: Binding) -> Columns:
    if transformer.transformer_weights:
        raise ConversionError("scikit-learn ColumnTransformer", "it has transformer_weights", "scale in the estimator")
    names = list(getattr(transformer, "feature_names_in_", ()))
    out: Columns = []
    for label, step, chosen in transformer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        if isinstance(chosen, str):
            raise ConversionError(
                called(step), f"it reads the column {chosen!r} alone, as a vector", "name a list of columns"
            )
        indices = _indices(chosen, names, len(columns), label)
        if indices:
            out += transformed(step, [columns[i] for i in indices], binding)
    return out


def _indices(chosen: Any, names: list[Any], count: int, label: str) -> list[int]:
    """Return which columns a part of a ColumnTransformer reads."""
    if isinstance(chosen, slice):
        first, end = (names.index(e) if isinstance(e, str) else e for e in (chosen.start, chosen.stop))
        if isinstance(chosen.stop, str):
            end += 1  # a slice of names holds its end
        return list(range(count)[first : end : chosen.step])
    if callable(chosen):
        raise ConversionError(
            "scikit-learn ColumnTransformer", f"the columns of {label!r} are chosen by a function", "name them"
        )
    given = np.asarray(chosen)
    if given.dtype == bool:
        return [int(i) for i in np.flatnonzero(given)]
    return [names.index(c) if isinstance(c, str) else int(c) % count for c in given.tolist()]


# --- filling in --------------------------------------------------------------------------------------------------


def _imputed(imputer: Any, columns: list[MatrixColumn]) -> Columns:
    _check_marker(imputer)
    flags = _flags(imputer.indicator_, columns) if getattr(imputer, "indicator_", None) is not None else []
    out = []
    for column, value in zip(columns, imputer.statistics_, strict=True):
        if is_missing(value):  # nothing was there to learn from
            if imputer.keep_empty_features:
                raise ConversionError("scikit-learn SimpleImputer", f"it saw no value of {column.name!r}")
            continue
        out.append(_filled(column, value))
    return out + flags


def _filled(column: MatrixColumn, value: Any) -> MatrixColumn:
    if isinstance(column, LevelsColumn):
        if not isinstance(value, str):
            raise ConversionError("scikit-learn SimpleImputer", f"it fills the category {column.name!r} with {value!r}")
        return column if column.fill is not None else replace(column, fill=value)
    if isinstance(value, str):
        raise ConversionError("scikit-learn SimpleImputer", f"it fills the number {column.name!r} with {value!r}")
    number = float(value)
    if isinstance(column, NumberColumn) and column.impute is None:
        return replace(column, impute=number if column.to is not None else number * column.scale + column.center)
    if isinstance(column, TableColumn):
        return replace(
            column,
            values=np.where(np.isnan(column.values), number, column.values),
            unknown=number if np.isnan(column.unknown) else column.unknown,
            missing=number if np.isnan(column.missing) else column.missing,
        )
    return column


def _indicated(indicator: Any, columns: list[MatrixColumn]) -> Columns:
    _check_marker(indicator)
    return _flags(indicator, columns)


def _flags(indicator: Any, columns: list[MatrixColumn]) -> Columns:
    flags: Columns = []
    for index in indicator.features_:
        column = columns[int(index)]
        raw = (isinstance(column, NumberColumn) and column.impute is None) or isinstance(column, LevelsColumn)
        if not raw or getattr(column, "fill", None) is not None:
            raise ConversionError(
                "scikit-learn MissingIndicator", f"{column.name!r} is not as it is in the dataset there",
                "put it first",
            )  # fmt: skip
        flags.append(FlagColumn(column.name))
    return flags


def _check_marker(transformer: Any) -> None:
    marker = transformer.missing_values
    if not is_missing(marker):
        raise ConversionError(
            called(transformer), f"it takes {marker!r} for a missing value", "store such values as missing"
        )


# --- scaling -----------------------------------------------------------------------------------------------------


def _scaled(columns: list[MatrixColumn], center: Any, scale: Any, name: str) -> Columns:
    n = len(columns)
    centers = np.zeros(n) if center is None else np.asarray(center, dtype=np.float64)
    scales = np.ones(n) if scale is None else np.asarray(scale, dtype=np.float64)
    return [affine(c, float(a), float(b), name) for c, a, b in zip(columns, centers, scales, strict=True)]


def _standard(scaler: Any, columns: list[MatrixColumn]) -> Columns:
    center = scaler.mean_ if scaler.with_mean else None
    return _scaled(columns, center, scaler.scale_, called(scaler))


def _robust(scaler: Any, columns: list[MatrixColumn]) -> Columns:
    return _scaled(columns, scaler.center_, scaler.scale_, called(scaler))


def _max_abs(scaler: Any, columns: list[MatrixColumn]) -> Columns:
    if getattr(scaler, "clip", False):
        return _lines(columns, [(np.array([-s, s]), np.array([-1.0, 1.0])) for s in scaler.scale_], called(scaler))
    return _scaled(columns, None, scaler.scale_, called(scaler))


def _min_max(scaler: Any, columns: list[MatrixColumn]) -> Columns:
    if scaler.clip:
        ends = zip(scaler.data_min_, scaler.scale_, strict=True)
        low, high = scaler.feature_range
        points = [(np.array([a, a + (high - low) / s]), np.array([low, high], dtype=np.float64)) for a, s in ends]
        return _lines(columns, points, called(scaler))
    return _scaled(columns, -scaler.min_ / scaler.scale_, 1.0 / scaler.scale_, called(scaler))


def _quantiles(transformer: Any, columns: list[MatrixColumn]) -> Columns:
    if transformer.output_distribution != "uniform":
        raise ConversionError(
            f"scikit-learn QuantileTransformer({transformer.output_distribution})", "the format has no such scale",
            "use output_distribution='uniform'",
        )  # fmt: skip
    return _lines(columns, [_scale(q, transformer.references_) for q in transformer.quantiles_.T], called(transformer))


def _scale(quantiles: Any, references: Any) -> tuple[Any, Any]:
    """Return the points of a scale that rise.

    Where quantiles are equal the scale jumps: from the least of their references just before, to their mean at the
    value, to the greatest just behind it; at its ends it begins at 0 and ends at 1.
    """
    at: list[float] = []
    to: list[float] = []
    values, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
    for index, (value, begin, count) in enumerate(zip(values.tolist(), first.tolist(), counts.tolist(), strict=True)):
        low, high = float(references[begin]), float(references[begin + count - 1])
        start, end = index == 0, index == len(values) - 1
        if count > 1 and not start:
            at.append(float(np.nextafter(value, -np.inf)))
            to.append(low)
        at.append(value)
        to.append(0.0 if start else 1.0 if end else (low + high) / 2)
        if count > 1 and not end:
            at.append(float(np.nextafter(value, np.inf)))
            to.append(high)
    return np.array(at), np.array(to)


def _lines(columns: list[MatrixColumn], scales: Sequence[tuple[Any, Any]], name: str) -> Columns:
    """Put each column on a scale of straight lines."""
    out: Columns = []
    for column, (at, to) in zip(columns, scales, strict=True):
        if isinstance(column, TableColumn):
            ends = np.interp([column.unknown, column.missing], at, to)
            values = np.interp(column.values, at, to)
            out.append(replace(column, values=values, unknown=float(ends[0]), missing=float(ends[1])))
            continue
        if not isinstance(column, NumberColumn) or column.to is not None:
            raise ConversionError(name, f"it scales {column.name!r}, which is no number as the dataset has it")
        raw = at * column.scale + column.center
        if len(raw) < 2 or not (np.diff(raw) > 0).all():
            raise ConversionError(name, f"the points of its scale of {column.name!r} fall together")
        filled = None if column.impute is None else float(np.interp(column.impute, raw, to))
        out.append(NumberColumn(column.name, filled, at=raw, to=to))
    return out


def _unchanged(transformer: Any, columns: list[MatrixColumn]) -> Columns:
    if transformer.func is not None:
        function = getattr(transformer.func, "__name__", "?")
        raise ConversionError(
            f"scikit-learn FunctionTransformer({function})", "a function is code, and a model file holds none",
            "compute that column before it is stored",
        )  # fmt: skip
    return list(columns)


_TRANSFORMERS: dict[str, Callable[[Any, list[MatrixColumn]], Columns]] = {
    "FunctionTransformer": _unchanged,
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "MissingIndicator": _indicated,
    "OneHotEncoder": one_hot,
    "OrdinalEncoder": one_each,
    "QuantileTransformer": _quantiles,
    "RobustScaler": _robust,
    "SimpleImputer": _imputed,
    "StandardScaler": _standard,
    "TargetEncoder": target_means,
}
