"""Rows as the libraries take them: a pandas frame with a missing value wherever the dataset has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model.features import numbers
from trainyard_convert.columns import NUMBERS
from trainyard_convert.errors import MissingLibraryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.schema import Schema


def frame_of(
    columns: Mapping[str, Sequence[Any]],
    names: Sequence[str],
    called: Sequence[str],
    schema: Schema,
    *,
    levels: Mapping[str, Sequence[Any]] | None = None,
    missing_level: str | None = None,
) -> Any:
    """Return a frame of the dataset's columns ``names``, under the names that the library calls them.

    Numbers are float64 with NaN, categories strings with NaN (or ``missing_level``) for a missing one; those in
    ``levels`` are of pandas' type category with these levels.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - only where a library is asked
    except ModuleNotFoundError as e:
        raise MissingLibraryError("pandas", "scikit-learn") from e
    data: dict[int, Any] = {}  # by place: two columns may be called alike
    for place, name in enumerate(names):
        values = columns[name]
        if levels and name in levels:
            data[place] = pd.Categorical(_of_type(values, levels[name]), categories=list(levels[name]))
        elif schema.column(name).type in NUMBERS:
            data[place] = numbers(values)
        else:
            gap = np.nan if missing_level is None else missing_level
            data[place] = np.array([gap if v is None else v for v in values], dtype=object)
    return pd.DataFrame(data).set_axis(list(called), axis="columns")


def _of_type(values: Sequence[Any], levels: Sequence[Any]) -> list[Any]:
    """Return category values as the type that the library's levels have: numbers are text in the dataset."""
    known = {str(level): level for level in levels}
    return [None if v is None or v != v else known.get(str(_whole(v))) for v in values]  # noqa: PLR0124


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
