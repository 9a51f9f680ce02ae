"""What a dataset says about its own keeping: one place that knows the settings, their defaults and their bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from trainyard.errors import Problem, ServiceError
from trainyard.schema.values import shown

REFUSE, ADD = "refuse", "add"
_MOST_DAYS = 36_500
_EXPECTED = {
    "max_rejected_share": "a number from 0 to 1",
    "new_columns": f"'{REFUSE}' or '{ADD}'",
    "retention_days": f"null, or a number of days above 0, at most {_MOST_DAYS:,}",
}


@dataclass(frozen=True)
class DatasetSettings:
    """How a dataset treats what comes and for how long it keeps it.

    Attributes:
        max_rejected_share: a batch with more than this share of its rows rejected is refused as a whole.
        new_columns: what becomes of columns that a batch brings and the dataset does not have: ``refuse`` the batch,
            or ``add`` them, nullable, and load it.
        retention_days: rows are removed so many days after their batch was committed; None: never.
    """

    max_rejected_share: float = 0.05
    new_columns: str = REFUSE
    retention_days: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def stored(cls, kept: Mapping[str, Any]) -> DatasetSettings:
        """Return settings as they were stored; those of a later release are left out."""
        return cls(**{name: value for name, value in kept.items() if name in _EXPECTED})

    def changed(self, given: object) -> DatasetSettings:
        """Return these settings with those that ``given`` names replaced; the others stay.

        Raises:
            ServiceError: ``bad_request``; the details list every setting that is unknown or cannot be so.
        """
        if not isinstance(given, Mapping):
            problem = Problem(None, "settings", "an object {setting: value}", shown(given))
            raise ServiceError("bad_request", "settings must be an object", [problem])
        problems = [
            Problem(
                None, f"settings.{shown(name)}", _EXPECTED.get(name, f"one of {', '.join(_EXPECTED)}"), shown(value)
            )
            for name, value in given.items()
            if name not in _EXPECTED or not _fits(name, value)
        ]
        if problems:
            raise ServiceError("bad_request", f"{len(problems)} setting(s) cannot be so", problems)
        return DatasetSettings(**{**self.as_dict(), **given})


def _fits(name: str, value: object) -> bool:
    if name == "new_columns":
        return value in (REFUSE, ADD)
    if name == "retention_days" and value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return 0 <= value <= 1 if name == "max_rejected_share" else 0 < value <= _MOST_DAYS
