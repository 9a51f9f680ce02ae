"""Columns and schemas: their rules, their JSON form, and the check of whole rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

from trainyard.errors import Problem, ServiceError
from trainyard.frozen import dataclass
from trainyard.schema.values import check_value, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TYPES = ("bool", "int", "float", "text", "category", "date", "timestamp")
_AT_MOST_ONE = ("label", "event_time", "group")
ROLES = ("feature", "label", "key", "event_time", "group", "ignore")
#: Postgres allows 1,600 columns in a table, which has one for each of these and two of its own.
MAX_COLUMNS = 1_500
MAX_NAME_BYTES = 63  # where Postgres would cut an identifier
MAX_CATEGORIES = 10_000
MAX_PROBLEMS = 10_000
_COLUMN_FIELDS = frozenset({"name", "type", "role", "nullable", "categories"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Column:
    """One typed column.

    ``categories`` are the known levels of a ``category`` column in a fixed order; they inform, they do not
    restrict: a level that is not in the list is a valid value (models treat it as unknown).
    """

    name: str
    type: str
    role: str = "feature"
    nullable: bool = True
    categories: tuple[str, ...] | None = None

    def __init__(
        self,
        name: str,
        type: str,  # noqa: A002 - the field's name, there and in the JSON form
        role: str = "feature",
        nullable: bool = True,
        categories: tuple[str, ...] | None = None,
    ) -> None:
        # one that a frozen dataclass makes for itself sets each field apart, which takes twice the time of all of this
        self.__dict__.update(name=name, type=type, role=role, nullable=nullable, categories=categories)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``categories`` is left out when there are none."""
        out: dict[str, Any] = {"name": self.name, "type": self.type, "role": self.role, "nullable": self.nullable}
        if self.categories is not None:
            out["categories"] = list(self.categories)
        return out


@dataclass(frozen=True)
class Schema:
    """An ordered set of columns; construction raises ``ServiceError("invalid_schema")`` with every problem."""

    columns: tuple[Column, ...]

    def __init__(self, columns: Iterable[Column]) -> None:
        object.__setattr__(self, "columns", tuple(columns))
        problems = _schema_problems(self.columns)
        if problems:
            raise ServiceError("invalid_schema", f"the schema has {len(problems)} problem(s)", problems)

    @classmethod
    def from_dict(cls, data: object) -> Schema:
        """Read ``{"columns": [{"name", "type", "role"?, "nullable"?, "categories"?}]}``.

        Raises:
            ServiceError: ``invalid_schema``, the details listing every problem.
        """
        if not isinstance(data, Mapping) or set(data) != {"columns"} or not isinstance(data["columns"], list):
            problem = Problem(None, None, 'an object {"columns": [...]}', shown(data))
            raise ServiceError("invalid_schema", "the schema is not an object with a list of columns", [problem])
        problems: list[Problem] = []
        columns = [c for raw in data["columns"] if (c := _column_from(raw, problems)) is not None]
        if problems:
            raise ServiceError("invalid_schema", f"the schema has {len(problems)} problem(s)", problems)
        return cls(columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form that :meth:`from_dict` reads."""
        return {"columns": [c.to_dict() for c in self.columns]}

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {c.name: c for c in self.columns}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all columns, in order."""
        return tuple(c.name for c in self.columns)

    @cached_property
    def alike(self) -> tuple[tuple[Column, tuple[str, ...]], ...]:
        """Names of the columns whose values pass the same checks, with one of these columns for all."""
        groups: dict[tuple[str, bool], list[Column]] = {}
        for column in self.columns:
            groups.setdefault((column.type, column.nullable), []).append(column)
        return tuple((group[0], tuple(c.name for c in group)) for group in groups.values())

    @cached_property
    def features(self) -> tuple[Column, ...]:
        """Columns that a model may read, in order."""
        return tuple(c for c in self.columns if c.role == "feature")

    @cached_property
    def keys(self) -> tuple[Column, ...]:
        """Columns that together identify a row; may be none."""
        return tuple(c for c in self.columns if c.role == "key")

    @property
    def label(self) -> Column | None:
        """The column to be predicted, if the dataset names one."""
        return self._with_role("label")

    @property
    def event_time(self) -> Column | None:
        """The column that says when a row happened, if the dataset names one."""
        return self._with_role("event_time")

    @property
    def group(self) -> Column | None:
        """The column whose equal values must not be split between training and hold-out, if any."""
        return self._with_role("group")

    def _with_role(self, role: str) -> Column | None:
        return next((c for c in self.columns if c.role == role), None)

    def column(self, name: str) -> Column:
        """Return the column ``name``; KeyError when there is none."""
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def check_rows(
        self,
        rows: Sequence[object],
        *,
        columns: Sequence[Column] | None = None,
        require: Collection[str] | None = None,
    ) -> tuple[list[dict[str, Any] | None], list[Problem]]:
        """Check JSON rows and return them clean, with every problem of every row.

        Args:
            rows: objects as JSON gives them, bound by name.
            columns: the columns to read (default: all); the schema's other columns may be present and are dropped.
            require: names that every row must carry, null or not (default: the non-nullable ones of ``columns``).

        Returns:
            One entry per row, ``{name: value}`` for all of ``columns`` (None where absent), or None where the row
            has a problem; and the problems in row order, rows counted from 1, at most 10,000 and one that says so.
        """
        wanted = self.columns if columns is None else tuple(columns)
        required = frozenset(c.name for c in wanted if not c.nullable) if require is None else frozenset(require)
        clean: list[dict[str, Any] | None] = []
        problems: list[Problem] = []
        for number, row in enumerate(rows, start=1):
            before = len(problems)
            values = self._check_row(number, row, wanted, required, problems)
            clean.append(values if len(problems) == before else None)
            if len(problems) > MAX_PROBLEMS:
                problems[MAX_PROBLEMS:] = [Problem(None, None, f"at most {MAX_PROBLEMS} problems listed", "more")]
                clean.extend([None] * (len(rows) - number))
                break
        return clean, problems

    def _check_row(
        self, number: int, row: object, wanted: Sequence[Column], required: frozenset[str], problems: list[Problem]
    ) -> dict[str, Any] | None:
        if not isinstance(row, Mapping):
            problems.append(Problem(number, None, "an object {column: value}", shown(row)))
            return None
        values: dict[str, Any] = {}
        for column in wanted:
            name = column.name
            if name not in row:
                if name in required:
                    problems.append(Problem(number, name, "the column to be present", "absent"))
                values[name] = None
                continue
            value, expected = check_value(column, row[name])
            if expected is not None:
                problems.append(Problem(number, name, expected, shown(row[name])))
            values[name] = value
        if not row.keys() <= values.keys():
            unknown = [name for name in row if name not in self._by_name]
            problems.extend(Problem(number, shown(name), "a column of the schema", shown(name)) for name in unknown)
        return values


def _column_from(raw: object, problems: list[Problem]) -> Column | None:
    """Build one column of the JSON form; what cannot even be held as a Column is reported here."""
    if not isinstance(raw, (dict, Mapping)) or not isinstance(raw.get("name"), str):  # an ABC alone is asked slowly
        problems.append(Problem(None, None, 'a column {"name": ..., "type": ...}', shown(raw)))
        return None
    kind, role = raw.get("type"), raw.get("role", "feature")
    nullable, levels = raw.get("nullable", True), raw.get("categories")
    if (
        isinstance(kind, str)
        and isinstance(role, str)
        and isinstance(nullable, bool)
        and (levels is None or _are_strings(levels))
        and _COLUMN_FIELDS.issuperset(raw)
    ):
        return Column(raw["name"], kind, role, nullable, None if levels is None else tuple(levels))
    problems.extend(_field_problems(raw))
    return None


def _field_problems(raw: Mapping[str, Any]) -> list[Problem]:
    """Return what keeps an object with a name from being held as a Column."""
    name = shown(raw["name"])
    known = "name, type, role, nullable, categories"
    unknown = [field for field in raw if field not in _COLUMN_FIELDS]
    problems = [Problem(None, name, f"only the fields {known}", shown(field)) for field in unknown]
    for field, given in (("type", raw.get("type")), ("role", raw.get("role", "feature"))):
        if not isinstance(given, str):
            problems.append(Problem(None, name, f"{field} as a string", shown(raw.get(field))))
    if not isinstance(raw.get("nullable", True), bool):
        problems.append(Problem(None, name, "nullable as true or false", shown(raw["nullable"])))
    levels = raw.get("categories")
    if not (levels is None or _are_strings(levels)):
        problems.append(Problem(None, name, "categories as a list of strings", shown(levels)))
    return problems


def _are_strings(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(v, str) for v in values)


def _schema_problems(columns: tuple[Column, ...]) -> list[Problem]:
    """Return everything that is wrong with these columns together."""
    problems: list[Problem] = []
    if not 1 <= len(columns) <= MAX_COLUMNS:
        problems.append(Problem(None, None, f"1 to {MAX_COLUMNS} columns", str(len(columns))))
    for column in columns[: MAX_COLUMNS + 1]:
        problems.extend(_column_problems(column))
    folded = [c.name.casefold() for c in columns]
    if len(set(folded)) != len(folded):
        times = Counter(folded)
        expected = "a name that no other column has (upper and lower case count as equal)"
        same = [c.name for c, name in zip(columns, folded, strict=True) if times[name] > 1]
        problems.extend(Problem(None, shown(name), expected, name) for name in same)
    roles = [(c.role, c.name) for c in columns if c.role in _AT_MOST_ONE]
    for role in _AT_MOST_ONE:
        names = [name for own, name in roles if own == role]
        if len(names) > 1:
            problems.append(Problem(None, shown(names[1]), f"at most one column of role {role}", shown(str(names))))
    return problems


def _column_problems(column: Column) -> list[Problem]:
    wrong: list[tuple[str, str]] = []  # what was expected, and what there is instead
    if not _is_good_name(column.name):
        expected = f"a name of 1 to {MAX_NAME_BYTES} UTF-8 bytes without control characters"
        wrong.append((expected, shown(column.name)))
    if column.type not in TYPES:
        wrong.append((f"a type of {', '.join(TYPES)}", shown(column.type)))
    if column.role not in ROLES:
        wrong.append((f"a role of {', '.join(ROLES)}", shown(column.role)))
    if column.role == "event_time" and column.type not in ("date", "timestamp"):
        wrong.append(("date or timestamp as type of the event time", shown(column.type)))
    if column.role == "label" and column.type in ("date", "timestamp"):
        wrong.append(("a label that is not a date or timestamp", shown(column.type)))
    if column.role == "key" and column.type == "float":
        wrong.append(("a key that is not a float", shown(column.type)))
    if column.categories is not None:
        wrong.extend(_wrong_categories(column, column.categories))
    return [Problem(None, shown(column.name), expected, got) for expected, got in wrong] if wrong else []


def _wrong_categories(column: Column, levels: tuple[str, ...]) -> list[tuple[str, str]]:
    wrong: list[tuple[str, str]] = []
    if column.type != "category":
        wrong.append(("categories only on a column of type category", shown(column.type)))
    if len(levels) > MAX_CATEGORIES or len(set(levels)) != len(levels):
        wrong.append((f"at most {MAX_CATEGORIES} distinct categories", str(len(levels))))
    one_level = Column(column.name, "category", nullable=False)
    for level in levels:
        _, expected = check_value(one_level, level)
        if expected is not None:
            wrong.append((expected, shown(level)))
    return wrong


def _is_good_name(name: str) -> bool:
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return 1 <= size <= MAX_NAME_BYTES and _CONTROL.search(name) is None
