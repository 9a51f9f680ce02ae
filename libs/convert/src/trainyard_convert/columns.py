"""What stands behind each column of a matrix: a column of the dataset and what was done to it since.

A library's preprocessing is followed column by column. What the format can say becomes its steps (:class:`Matrix`);
the rest is refused. A matrix column may keep a rest that no step can take (``center`` and ``scale``), which the
estimator takes in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from trainyard.model import IsMissing, Number, OneHot, Quantile, TableEncoding
from trainyard.schema import Column, Schema
from trainyard_convert.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainyard.model.dto import FloatArray
    from trainyard.model.steps import Step

NUMBERS = ("bool", "int", "float")
LEVELS = ("category", "text")


@dataclass(frozen=True, eq=False)
class NumberColumn:
    """``((impute if missing) - center) / scale``; or, with ``at`` and ``to``, straight lines through these points, and
    ``impute``, which then is one of the values of ``to``, where it is missing.
    """

    name: str
    impute: float | None = None
    center: float = 0.0
    scale: float = 1.0
    at: FloatArray | None = None
    to: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class LevelsColumn:
    """A category that no encoder has made a number of yet; ``fill`` is the level that stands for a missing one."""

    name: str
    fill: str | None = None


@dataclass(frozen=True, eq=False)
class TableColumn:
    """A number for each level: ``values`` (levels,); NaN is a missing value."""

    name: str
    levels: tuple[str, ...]
    values: FloatArray
    unknown: float
    missing: float


@dataclass(frozen=True, eq=False)
class FlagColumn:
    """``(flag - center) / scale`` of a flag that is 1 where the column is missing, else 0."""

    name: str
    center: float = 0.0
    scale: float = 1.0


MatrixColumn = NumberColumn | LevelsColumn | TableColumn | FlagColumn


@dataclass
class Binding:
    """The dataset's columns, and those of them that must not be missing because the library would not answer then."""

    schema: Schema
    required: set[str] = field(default_factory=set)
    read: dict[str, None] = field(default_factory=dict)  # in the order of the library

    def take(self, name: object) -> Column:
        """Return the dataset's column ``name`` as one that the model reads.

        Raises:
            ConversionError: there is none, or it is no feature.
        """
        if not isinstance(name, str) or name not in self.schema:
            known = ", ".join(c.name for c in self.schema.features)
            raise ConversionError(
                f"column {name!r}", "the dataset has no such column", f"its features are {known}; name them in order"
                " with --columns a,b,c, or add the column to the dataset",
            )  # fmt: skip
        column = self.schema.column(name)
        if column.role != "feature":
            raise ConversionError(f"column {name!r}", f"it is the dataset's {column.role}, which no model may read")
        self.read[name] = None
        return column

    def raw(self, name: object) -> NumberColumn | LevelsColumn:
        """Return the column as a library is given it."""
        column = self.take(name)
        if column.type in NUMBERS:
            return NumberColumn(column.name)
        if column.type in LEVELS:
            return LevelsColumn(column.name)
        raise ConversionError(
            f"column {column.name!r}", f"it is a {column.type}, which none of these libraries reads as it is",
            "make numbers of it before it is stored",
        )  # fmt: skip

    def narrowed(self) -> Schema:
        """Return the model's schema: the features that it reads, not nullable where it needs a value."""
        return Schema(
            replace(c, nullable=c.nullable and c.name not in self.required)
            for c in self.schema.columns
            if c.name in self.read
        )


def names_of(given: Sequence[str] | None, own: Sequence[str] | None, count: int, library: str) -> list[str]:
    """Return the names of a model's ``count`` inputs: those that were given, or its own.

    Raises:
        ConversionError: there are none, or not as many as inputs.
    """
    names = given or own
    if names is None:
        raise ConversionError(
            f"{library} inputs", f"the model does not name its {count} inputs",
            "name them in order with --columns a,b,c",
        )  # fmt: skip
    if len(names) != count:
        raise ConversionError(f"{library} inputs", f"the model has {count} inputs, not {len(names)}")
    return list(names)


def affine(column: MatrixColumn, center: float, scale: float, name: str) -> MatrixColumn:
    """Return ``(column - center) / scale``; ``name`` is whose work that is."""
    if not (np.isfinite(center) and np.isfinite(scale) and scale > 0):
        raise ConversionError(name, f"it scales by {scale:g} around {center:g}, which is no scaling")
    match column:
        case NumberColumn() if column.to is not None:
            impute = None if column.impute is None else (column.impute - center) / scale
            return replace(column, to=(column.to - center) / scale, impute=impute)
        case NumberColumn() | FlagColumn():
            return replace(column, center=column.center + center * column.scale, scale=column.scale * scale)
        case TableColumn():
            return replace(
                column,
                values=(column.values - center) / scale,
                unknown=(column.unknown - center) / scale,
                missing=(column.missing - center) / scale,
            )
        case _:
            raise ConversionError(name, f"it reads the category {column.name!r} as a number", "encode it before")


# --- matrix columns to steps --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Matrix:
    """Steps that make the matrix, but for a rest: what the library has is ``(matrix - center) / scale``, each (D,)."""

    steps: tuple[Step, ...]
    center: FloatArray
    scale: FloatArray

    @property
    def exact(self) -> bool:
        """Whether the steps leave no rest."""
        return not self.center.any() and bool((self.scale == 1.0).all())


def matrix_of(columns: Sequence[MatrixColumn], binding: Binding, *, missing_allowed: bool, name: str) -> Matrix:
    """Return the steps that make ``columns``; without ``missing_allowed`` none of them may be missing.

    Raises:
        ConversionError: a category is still none, or an unknown level would be a missing value where none may be.
    """
    steps: list[Step] = []
    rest: list[tuple[float, float]] = []
    for group in _groups(columns):
        first = group[0]
        match first:
            case NumberColumn():
                steps.append(_number(first, binding, missing_allowed))
            case FlagColumn():
                steps.append(IsMissing(first.name))
            case TableColumn():
                steps.append(_table([c for c in group if isinstance(c, TableColumn)], binding, missing_allowed, name))
            case _:
                raise ConversionError(
                    name, f"it reads the category {first.name!r}, which it takes for a number",
                    "put an encoder before it",
                )  # fmt: skip
        flag = isinstance(first, FlagColumn)
        rest += [(c.center, c.scale) if flag and isinstance(c, FlagColumn) else (0.0, 1.0) for c in group]
    center, scale = np.array(rest, dtype=np.float64).reshape(-1, 2).T
    return Matrix(tuple(steps), center, scale)


def _groups(columns: Iterable[MatrixColumn]) -> list[list[MatrixColumn]]:
    """Return neighbours that are tables of the same levels together, everything else alone."""
    groups: list[list[MatrixColumn]] = []
    for column in columns:
        last = groups[-1][0] if groups else None
        if (
            isinstance(column, TableColumn)
            and isinstance(last, TableColumn)
            and (column.name, column.levels) == (last.name, last.levels)
        ):
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups


def _number(column: NumberColumn, binding: Binding, missing_allowed: bool) -> Step:
    impute = column.impute
    if impute is None and not missing_allowed:
        binding.required.add(column.name)
        impute = 0.0  # never used: the model's schema lets no missing value through
    if column.at is None or column.to is None:
        return Number(column.name, impute, column.center, column.scale)
    return Quantile(column.name, column.at, column.to, impute)


def _table(group: Sequence[TableColumn], binding: Binding, missing_allowed: bool, name: str) -> Step:
    first = group[0]
    table = np.stack([c.values for c in group], axis=1)
    unknown = np.array([c.unknown for c in group])
    missing = np.array([c.missing for c in group])
    if not missing_allowed:
        if np.isnan(table).any() or np.isnan(unknown).any():
            raise ConversionError(
                name, f"it would meet a missing value where {first.name!r} has a level that its encoder does not know",
                "give the encoder a number for unknown levels",
            )  # fmt: skip
        if np.isnan(missing).any():
            binding.required.add(first.name)
            missing = unknown
    one_hot = _one_hot(first, table, unknown, missing)
    if one_hot is not None:
        return one_hot
    nothing = bool(np.isnan(unknown).all()), bool(np.isnan(missing).all())
    if (
        np.isnan(table).any()
        or (np.isnan(unknown).any() and not nothing[0])
        or (np.isnan(missing).any() and not nothing[1])
    ):
        raise ConversionError(name, f"its encoding of {first.name!r} holds missing values among numbers")
    return TableEncoding(
        first.name, first.levels, table, None if nothing[0] else unknown, None if nothing[1] else missing
    )


def _one_hot(first: TableColumn, table: FloatArray, unknown: FloatArray, missing: FloatArray) -> OneHot | None:
    """Return the one-hot step that makes this table, if one does."""
    n = len(first.levels)
    if unknown.any() or np.isnan(unknown).any() or table.shape[1] not in (n, n + 1):
        return None
    own = table.shape[1] == n + 1  # a column for missing values
    wanted = np.eye(n, n + own)
    flags = np.eye(n + own)[n] if own else np.zeros(n)
    if not (np.array_equal(table, wanted) and np.array_equal(missing, flags)):
        return None
    return OneHot(first.name, first.levels, other=False, missing=own)
