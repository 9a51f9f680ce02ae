"""scikit-learn's transformers, followed column by column.

What a fitted transformer learnt is read from its public attributes; encoders are asked for each of their levels, an
unknown one and a missing one, which is all that they can be asked.
"""

from __future__ import annotations

import warnings
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: A level that no encoder knows.
_STRANGER = "\x7fa level that nobody has seen"


@dataclass(frozen=True)
class Input:
    """A column of the frame that nothing has read yet: it need not be one of the dataset."""

    name: str


Columns = list[Any]  # of Input and MatrixColumn


def called(model: Any) -> str:
    """Return what a model or transformer is called in messages."""
    kind = type(model)
    family = "scikit-learn" if kind.__module__.startswith("sklearn.") else kind.__module__.split(".")[0]
    return f"{family} {kind.__name__}"


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
        ends = [names.index(end) if isinstance(end, str) else end for end in (chosen.start, chosen.stop)]
        if isinstance(chosen.stop, str):
            ends[1] += 1  # a slice of names holds its end
        return list(range(count))[slice(*ends, chosen.step)]
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
        if _is_missing(value):  # nothing was there to learn from
            if imputer.keep_empty_features:
                raise ConversionError("scikit-learn SimpleImputer", f"it saw no value of {_name(column)!r}")
            continue
        out.append(_filled(column, value))
    return out + flags


def _filled(column: MatrixColumn, value: Any) -> MatrixColumn:
    if isinstance(column, LevelsColumn):
        if not isinstance(value, str):
            raise ConversionError("scikit-learn SimpleImputer", f"it fills the category {column.name!r} with {value!r}")
        return column if column.fill is not None else replace(column, fill=value)
    if isinstance(value, str):
        raise ConversionError("scikit-learn SimpleImputer", f"it fills the number {_name(column)!r} with {value!r}")
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
                "scikit-learn MissingIndicator", f"{_name(column)!r} is not as it is in the dataset there",
                "put it first",
            )  # fmt: skip
        flags.append(FlagColumn(_name(column)))
    return flags


def _check_marker(transformer: Any) -> None:
    marker = transformer.missing_values
    if not _is_missing(marker):
        raise ConversionError(
            called(transformer), f"it takes {marker!r} for a missing value", "store such values as missing"
        )


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and bool(np.isnan(value)))


def _name(column: MatrixColumn) -> str:
    return column.name


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
            raise ConversionError(name, f"it scales {_name(column)!r}, which is no number as the dataset has it")
        raw = at * column.scale + column.center
        if len(raw) < 2 or not (np.diff(raw) > 0).all():
            raise ConversionError(name, f"the points of its scale of {_name(column)!r} fall together")
        filled = None if column.impute is None else float(np.interp(column.impute, raw, to))
        out.append(NumberColumn(column.name, filled, at=raw, to=to))
    return out


# --- encoding ----------------------------------------------------------------------------------------------------


def _one_hot(encoder: Any, columns: list[MatrixColumn]) -> Columns:
    dropped = [None] * len(columns) if encoder.drop_idx_ is None else list(encoder.drop_idx_)
    rare = getattr(encoder, "infrequent_categories_", None) or [None] * len(columns)
    widths = [
        len(levels) - (0 if few is None else len(few) - 1) - (0 if drop is None else 1)
        for levels, few, drop in zip(encoder.categories_, rare, dropped, strict=True)
    ]
    return encoded(encoder, columns, widths)


def _each_one(encoder: Any, columns: list[MatrixColumn]) -> Columns:
    return encoded(encoder, columns, [1] * len(columns))


def _target(encoder: Any, columns: list[MatrixColumn]) -> Columns:
    width = len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1
    return encoded(encoder, columns, [width] * len(columns))


def encoded(encoder: Any, columns: list[MatrixColumn], widths: Sequence[int]) -> Columns:
    """Return what an encoder makes of ``columns``, ``widths[i]`` columns of column i.

    Raises:
        ConversionError: it refuses unknown levels, or reads numbers as the dataset has them.
    """
    name = called(encoder)
    if getattr(encoder, "handle_unknown", "") == "error":
        wanted = "use_encoded_value" if type(encoder).__name__ == "OrdinalEncoder" else "ignore"
        raise ConversionError(
            f"{name}(handle_unknown='error')", "a served model must answer for unknown levels too",
            f"set handle_unknown={wanted!r}; that needs no new fit of what follows",
        )  # fmt: skip
    asked = [_questions(c, k, name) for c, k in zip(columns, encoder.categories_, strict=True)]
    rows = max(len(q) for q in asked)
    x = np.empty((rows, len(columns)), dtype=object)
    for index, questions in enumerate(asked):
        x[:, index] = questions[0]
        x[: len(questions), index] = questions
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of column names and of unknown levels
        out = encoder.transform(x)
    table = np.asarray(out.toarray() if hasattr(out, "toarray") else out, dtype=np.float64)
    made: Columns = []
    at = 0
    for column, levels, questions, width in zip(columns, encoder.categories_, asked, widths, strict=True):
        for part in table[: len(questions), at : at + width].T:
            made.append(_as_table(column, levels, part))
        at += width
    if at != table.shape[1]:
        raise ConversionError(name, f"it makes {table.shape[1]} columns where {at} were expected")
    return made


def _questions(column: MatrixColumn, levels: Any, name: str) -> list[Any]:
    """Return the values to ask an encoder for: all that the column may be, then unknown, then missing."""
    if isinstance(column, TableColumn):
        return [*column.values.tolist(), column.unknown, column.missing]
    if not isinstance(column, LevelsColumn):
        raise ConversionError(
            name, f"it reads the number {_name(column)!r} as a category", "make it a category column of the dataset"
        )
    known = [level for level in levels if not _is_missing(level)]
    if any(not isinstance(level, str) for level in known):
        raise ConversionError(name, f"its levels of {column.name!r} are not texts, as those of the dataset are")
    gap = next((level for level in levels if _is_missing(level)), np.nan)
    return [*known, _STRANGER, gap if column.fill is None else column.fill]


def _as_table(column: MatrixColumn, levels: Any, part: Any) -> TableColumn:
    texts = column.levels if isinstance(column, TableColumn) else tuple(x for x in levels if not _is_missing(x))
    return TableColumn(column.name, texts, part[:-2], float(part[-2]), float(part[-1]))


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
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _each_one,
    "QuantileTransformer": _quantiles,
    "RobustScaler": _robust,
    "SimpleImputer": _imputed,
    "StandardScaler": _standard,
    "TargetEncoder": _target,
}
