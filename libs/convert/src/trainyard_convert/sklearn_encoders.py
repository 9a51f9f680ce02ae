"""scikit-learn's encoders: asked for each level of a category, an unknown one and a missing one.

That is all that they can be asked, so their options (levels dropped or held together, what is unknown, smoothing) need
no imitation.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard_convert.columns import LevelsColumn, MatrixColumn, TableColumn
from trainyard_convert.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A level that no encoder knows.
_STRANGER = "\x7fa level that nobody has seen"


def called(model: Any) -> str:
    """Return what a model or transformer is called in messages."""
    kind = type(model)
    family = "scikit-learn" if kind.__module__.startswith("sklearn.") else kind.__module__.split(".")[0]
    return f"{family} {kind.__name__}"


def is_missing(value: Any) -> bool:
    """Tell whether a value of a fitted attribute is one of the spellings of a missing one."""
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and bool(np.isnan(value)))


def one_hot(encoder: Any, columns: list[MatrixColumn]) -> list[TableColumn]:
    """Return what a OneHotEncoder makes of the columns."""
    dropped = [None] * len(columns) if encoder.drop_idx_ is None else list(encoder.drop_idx_)
    rare = getattr(encoder, "infrequent_categories_", None) or [None] * len(columns)
    widths = [
        len(levels) - (0 if few is None else len(few) - 1) - (0 if drop is None else 1)
        for levels, few, drop in zip(encoder.categories_, rare, dropped, strict=True)
    ]
    return encoded(encoder, columns, widths)


def one_each(encoder: Any, columns: list[MatrixColumn]) -> list[TableColumn]:
    """Return what an OrdinalEncoder makes of the columns."""
    return encoded(encoder, columns, [1] * len(columns))


def target_means(encoder: Any, columns: list[MatrixColumn]) -> list[TableColumn]:
    """Return what a TargetEncoder makes of the columns."""
    width = len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1
    return encoded(encoder, columns, [width] * len(columns))


def encoded(encoder: Any, columns: list[MatrixColumn], widths: Sequence[int]) -> list[TableColumn]:
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
    made: list[TableColumn] = []
    at = 0
    for column, levels, questions, width in zip(columns, encoder.categories_, asked, widths, strict=True):
        made += [_as_table(column, levels, part) for part in table[: len(questions), at : at + width].T]
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
            name, f"it reads the number {column.name!r} as a category", "make it a category column of the dataset"
        )
    known = [level for level in levels if not is_missing(level)]
    if any(not isinstance(level, str) for level in known):
        raise ConversionError(name, f"its levels of {column.name!r} are not texts, as those of the dataset are")
    gap = next((level for level in levels if is_missing(level)), np.nan)
    return [*known, _STRANGER, gap if column.fill is None else column.fill]


def _as_table(column: MatrixColumn, levels: Any, part: Any) -> TableColumn:
    texts = column.levels if isinstance(column, TableColumn) else tuple(x for x in levels if not is_missing(x))
    return TableColumn(column.name, texts, part[:-2], float(part[-2]), float(part[-1]))
