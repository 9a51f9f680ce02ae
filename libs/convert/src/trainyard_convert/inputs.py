"""The inputs of a boosting library: numbers as they are, categories as the codes that the library gave its levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard_convert.columns import LevelsColumn, MatrixColumn, TableColumn
from trainyard_convert.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard_convert.columns import Binding


@dataclass(frozen=True, eq=False)
class Inputs:
    """Matrix columns, and for numbers that the library knows as categories what each of its codes stands for."""

    names: tuple[str, ...]
    columns: tuple[MatrixColumn, ...]
    values: Mapping[int, Sequence[int]]

    def codes(self, feature: int, codes: Sequence[int]) -> list[int]:
        """Return what the codes of a categorical split are in the matrix."""
        stands_for = self.values.get(feature)
        return list(codes) if stands_for is None else [stands_for[c] for c in codes if c < len(stands_for)]


def inputs_of(
    names: Sequence[str], levels: Mapping[int, Sequence[Any] | None], binding: Binding, library: str
) -> Inputs:
    """Return the inputs called ``names``.

    Args:
        names: the dataset's column of each input, in the library's order.
        levels: for each input that is a category its levels in the order of their codes, None where the library was
            given the codes themselves.
        binding: the dataset's columns.
        library: for what is refused.

    Raises:
        ConversionError: a column is missing, or is a number where the library knows a category, or the reverse.
    """
    columns: list[MatrixColumn] = []
    values: dict[int, list[int]] = {}
    for index, name in enumerate(names):
        raw = binding.raw(name)
        kind = binding.schema.column(name).type
        own = levels.get(index)
        if isinstance(raw, LevelsColumn):
            columns.append(_table(raw, index in levels, own, library))
            continue
        columns.append(raw)
        if index in levels:
            if kind == "float":
                raise ConversionError(
                    f"{library} category {name!r}", "the dataset has it as float, of which no value is a category",
                    "make it an int or a category column",
                )  # fmt: skip
            if own is not None:
                values[index] = [_whole(level, name, library) for level in own]
    return Inputs(tuple(names), tuple(columns), values)


def _table(raw: LevelsColumn, is_category: bool, levels: Sequence[Any] | None, library: str) -> TableColumn:
    if not is_category:
        raise ConversionError(
            f"{library} input {raw.name!r}", "the dataset has it as a category, the model as a number",
            "name the right columns with --columns",
        )  # fmt: skip
    if levels is None:
        raise ConversionError(
            f"{library} category {raw.name!r}", "the model does not say which code each level has",
            "train it on a pandas frame with columns of type category",
        )  # fmt: skip
    texts = tuple(str(level) for level in levels)
    return TableColumn(raw.name, texts, np.arange(len(texts), dtype=np.float64), np.nan, np.nan)


def _whole(level: Any, name: str, library: str) -> int:
    if (isinstance(level, int) or (isinstance(level, float) and level.is_integer())) and level >= 0:
        return int(level)
    raise ConversionError(
        f"{library} category {name!r}", f"its level {level!r} is no whole number from 0, and the dataset has numbers",
        "make it a category column of the dataset",
    )  # fmt: skip
