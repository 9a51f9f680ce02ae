"""Which columns a model may learn from, as far as its owner says so: the part ``columns`` of its policy, and the values
of ``leakage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from trainyard.errors import Problem
from trainyard.policy.fields import list_of, problems_of
from trainyard.schema import MAX_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection

#: What becomes of columns that seem to give the label away; the first is the default.
LEAKAGE = ("leave_out", "keep")

_MOST_CHARS = 63


@dataclass(frozen=True)
class ColumnPolicy:
    """Names of feature columns.

    Attributes:
        exclude: never learnt from.
        include: learnt from whatever the trainer finds about them.
    """

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    def changed(self, raw: Mapping[str, Any]) -> ColumnPolicy:
        """Return these with those of ``raw``, which has no problems; what it names is taken off the other list."""
        exclude = raw.get("exclude", [name for name in self.exclude if name not in raw.get("include", ())])
        include = raw.get("include", [name for name in self.include if name not in raw.get("exclude", ())])
        return ColumnPolicy(tuple(exclude), tuple(include))

    def to_dict(self) -> dict[str, list[str]]:
        """Return the JSON form."""
        return {"exclude": list(self.exclude), "include": list(self.include)}


def column_problems(raw: object) -> list[Problem]:
    """Return everything that is wrong with ``policy.columns`` given as JSON, whatever the dataset."""
    found = problems_of("policy.columns", raw, {field.name: _NAMES for field in fields(ColumnPolicy)})
    if isinstance(raw, Mapping) and all(_NAMES[0](raw.get(field.name, ())) for field in fields(ColumnPolicy)):
        both = [name for name in raw.get("include", ()) if name in raw.get("exclude", ())]
        found += [Problem(None, "policy.columns.include", "a column that is not excluded too", name) for name in both]
    return found


def unknown_columns(raw: object, features: Collection[str], dataset: str) -> list[Problem]:
    """Name the columns in ``policy.columns``, which has no other problem, that are no features of the dataset."""
    if not isinstance(raw, Mapping):
        return []
    return [
        Problem(None, f"policy.columns.{key}", f"a feature of {dataset}: {', '.join(features)[:400]}", name)
        for key in ("exclude", "include")
        for name in raw.get(key, ())
        if name not in features
    ]


_NAMES = list_of(
    lambda name: 0 < len(name) <= _MOST_CHARS,
    f"a list of at most {MAX_COLUMNS} names of columns, each once",
    most=MAX_COLUMNS,
)
