"""What a dataset's columns may become: more and wider, never fewer or narrower. Pure: a plan, carried out elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainyard.errors import Problem, ServiceError
from trainyard.schema.columns import Column, Schema
from trainyard.schema.values import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Whole numbers up to here are the same as floats; beyond, two of them may become one.
EXACT_AS_FLOAT = 2**53
_WIDER = {("int", "float"), ("date", "timestamp"), ("category", "text")}
#: The roles that say what a row is. Rows were numbered, matched and split by them, so they stay where they are.
_FIXED_ROLES = frozenset({"key", "group", "event_time"})


@dataclass(frozen=True)
class Change:
    """One difference between two revisions of a dataset's columns."""

    column: str
    change: str

    def as_dict(self) -> dict[str, str]:
        """Return the JSON form of ``core.dataset_revision.changes``."""
        return {"column": self.column, "change": self.change}


@dataclass(frozen=True)
class Evolution:
    """How a dataset's columns become others.

    Attributes:
        schema: the columns afterwards: the old ones in their old order, the new ones behind them.
        changes: what differs; empty when nothing does.
        exact: columns whose whole numbers must all be at most 2^53 from zero, or the change loses some.
        reshape: the table beneath must be altered.
        rewritten: the values of stored rows get another type, so whatever was computed from them must be anew.
    """

    schema: Schema
    changes: tuple[Change, ...]
    exact: tuple[str, ...]
    reshape: bool
    rewritten: bool


def holds(wide: str, narrow: str) -> bool:
    """Tell whether a column of type ``wide`` is what one of type ``narrow`` may have become."""
    return wide == narrow or (narrow, wide) in _WIDER


def evolution(current: Schema, wanted: Schema) -> Evolution:
    """Return the way from ``current`` to ``wanted``; columns are matched by name, in any order.

    Raises:
        ServiceError: ``narrowing`` with a problem for each column that would be dropped, made narrower or given
            another meaning; ``invalid_schema`` for columns that cannot stand together.
    """
    problems: list[Problem] = []
    changes: list[Change] = []
    columns = [_evolved(column, wanted, changes, problems) for column in current.columns]
    added = [_added(column, problems) for column in wanted.columns if column.name not in current]
    if problems:
        raise ServiceError("narrowing", f"{len(problems)} column(s) would be narrowed; nothing was changed", problems)
    changes += [Change(column.name, f"added as {column.type}") for column in added]
    retyped = [(old, new) for old, new in zip(current.columns, columns, strict=True) if old.type != new.type]
    rewritten = [(old, new) for old, new in retyped if old.type != "category"]  # both are text to the database
    return Evolution(
        schema=Schema([*columns, *added]) if changes else current,
        changes=tuple(changes),
        exact=tuple(old.name for old, new in retyped if (old.type, new.type) == ("int", "float")),
        reshape=bool(added or rewritten),
        rewritten=bool(rewritten),
    )


def with_columns(current: Schema, more: Iterable[Column]) -> Schema:
    """Return ``current`` with those of ``more`` that it does not have behind it, as nullable features."""
    fresh = [column for column in more if column.name not in current]
    return Schema([*current.columns, *(replace(column, role="feature", nullable=True) for column in fresh)])


def _evolved(old: Column, wanted: Schema, changes: list[Change], problems: list[Problem]) -> Column:
    """Return the column as it will be; what differs goes to ``changes``, what may not to ``problems``."""
    if old.name not in wanted:
        problems.append(Problem(None, shown(old.name), "the column to stay", "absent"))
        return old
    new = wanted.column(old.name)
    before = len(problems)
    _check_type(old, new, problems)
    if new.role != old.role and {new.role, old.role} & _FIXED_ROLES:
        problems.append(Problem(None, shown(old.name), f"the role {old.role} to stay", new.role))
    if old.nullable and not new.nullable:
        problems.append(Problem(None, shown(old.name), "the column to stay nullable", "nullable: false"))
    levels = _levels(old, new, problems)
    if len(problems) > before:
        return old
    said = [f"{what} {was} became {now}".strip() for what, was, now in _differences(old, new) if was != now]
    if levels != old.categories and new.type == "category":
        said.append(f"{len(levels or ()) - len(old.categories or ())} categories more")
    changes.extend(Change(old.name, words) for words in said)
    return replace(new, categories=levels)


def _differences(old: Column, new: Column) -> list[tuple[str, str, str]]:
    def null(column: Column) -> str:
        return "nullable" if column.nullable else "not nullable"

    return [("type", old.type, new.type), ("role", old.role, new.role), ("", null(old), null(new))]


def _check_type(old: Column, new: Column, problems: list[Problem]) -> None:
    if old.type == new.type:
        return
    if (old.type, new.type) not in _WIDER:
        wider = [to for was, to in _WIDER if was == old.type]
        problems.append(Problem(None, shown(old.name), f"the type {' or '.join([old.type, *wider])}", new.type))
    elif old.role in ("key", "group") and old.type != "category":
        # The text of keys and groups decides which rows are held out; what was fitted on must not become a test.
        problems.append(Problem(None, shown(old.name), f"the type {old.type} of a {old.role} to stay", new.type))


def _levels(old: Column, new: Column, problems: list[Problem]) -> tuple[str, ...] | None:
    """Return the levels of both, the old ones first; levels that are not mentioned at all stay known."""
    if new.type != "category":
        return None
    if old.categories is None or new.categories is None:
        return new.categories if old.categories is None else old.categories
    lost = set(old.categories) - set(new.categories)
    if lost:
        got = f"{len(lost)} of them missing, such as {shown(min(lost))}"
        problems.append(Problem(None, shown(old.name), "all categories that are known to stay", got))
    known = set(old.categories)
    return (*old.categories, *(level for level in new.categories if level not in known))


def _added(column: Column, problems: list[Problem]) -> Column:
    if column.role in _FIXED_ROLES:
        expected = "a new column that is feature, label or ignore"
        problems.append(Problem(None, shown(column.name), expected, f"role {column.role}"))
    if not column.nullable:
        expected = "a new column to be nullable: the rows before it have no value"
        problems.append(Problem(None, shown(column.name), expected, "nullable: false"))
    return column
