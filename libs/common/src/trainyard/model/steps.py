"""Preprocessing steps as frozen dataclasses: named columns in, ``width`` columns of a float64 matrix out.

They hold what the trainer has found out; :mod:`trainyard.model.features` and :mod:`trainyard.model.single` run them.
Where ``impute`` is None a missing value stays NaN, which only trees can take.
"""

from __future__ import annotations

from trainyard.frozen import dataclass
from trainyard.model.arrays import ArrayField, OptionalArrayField

TRANSFORMS = ("identity", "log")
OPERATIONS = ("ratio", "difference", "product")
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


@dataclass(frozen=True, eq=False)
class OfOneColumn:
    """What all steps have that read one column."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the step reads."""
        return (self.column,)

    @property
    def width(self) -> int:
        """Matrix columns that the step makes."""
        return 1


@dataclass(frozen=True, eq=False)
class Number(OfOneColumn):
    """A bool (0/1), int or float column: ``((impute if missing) - center) / scale``, then cut to +-``clip``.

    ``transform`` comes first: ``log`` is sign(x) ln(1 + \\|x\\|); ``impute`` stands for the transformed value.
    """

    impute: float | None = None
    center: float = 0.0
    scale: float = 1.0
    clip: float | None = None
    transform: str = "identity"


@dataclass(frozen=True, eq=False)
class Quantile(OfOneColumn):
    """A number on a scale of its own: straight lines between the points (``at``, ``to``), flat beyond the ends.

    Shapes: ``at`` and ``to`` (points,), two at least, ``at`` rising. ``impute`` is what a missing value becomes, on the
    scale of ``to``.
    """

    at: ArrayField = ArrayField("float64", 1)
    to: ArrayField = ArrayField("float64", 1)
    impute: float | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """Two numbers made one: ``left`` / ``right``, ``left`` - ``right`` or their product, then as :class:`Number`.

    It is missing where either is, and where the result is no finite number (a division by zero).
    """

    left: str
    right: str
    operation: str
    impute: float | None = None
    center: float = 0.0
    scale: float = 1.0
    clip: float | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the step reads."""
        return (self.left, self.right)

    @property
    def width(self) -> int:
        """Matrix columns that the step makes."""
        return 1


@dataclass(frozen=True, eq=False)
class IsMissing(OfOneColumn):
    """1.0 where the column (of any type) is missing, else 0.0."""


@dataclass(frozen=True, eq=False)
class OneHot(OfOneColumn):
    """A category or text column: one 0/1 column for each level, in order.

    ``other`` adds a column for levels not in the list, ``missing`` one for missing values; without them such
    values are all zeros.
    """

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
class TableEncoding(OfOneColumn):
    """A category or text column looked up in a table: target means, frequencies, ranks or codes.

    Shapes: ``table`` (levels, width), ``unknown`` (width,) for levels not in the list (the prior, usually),
    ``missing`` (width,); None stands for NaN, which only trees can take. Smoothing, ordered and out-of-fold means are
    the trainer's business: the table holds the result.
    """

    levels: tuple[str, ...]
    table: ArrayField = ArrayField("float64", 2)
    unknown: OptionalArrayField = OptionalArrayField("float64", 1)
    missing: OptionalArrayField = OptionalArrayField("float64", 1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))

    @property
    def width(self) -> int:
        """Matrix columns that the step makes."""
        return self.table.shape[1]


@dataclass(frozen=True, eq=False)
class DateParts(OfOneColumn):
    """A date or timestamp (in UTC) column: ``((impute if missing) - center) / scale`` for each of its parts.

    Shapes: ``center``, ``scale`` and ``impute`` (parts,). The sine and cosine parts are for linear models and
    networks, the plain ones for trees.
    """

    parts: tuple[str, ...]
    impute: OptionalArrayField = OptionalArrayField("float64", 1)
    center: OptionalArrayField = OptionalArrayField("float64", 1)
    scale: OptionalArrayField = OptionalArrayField("float64", 1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))

    @property
    def width(self) -> int:
        """Matrix columns that the step makes."""
        return len(self.parts)


Step = Number | Quantile | Pair | IsMissing | OneHot | TableEncoding | DateParts
