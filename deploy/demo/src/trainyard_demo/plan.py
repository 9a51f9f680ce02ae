"""What the story consists of: which months, how many flights, which policy. Change the story here."""

from __future__ import annotations

from calendar import month_name
from dataclasses import dataclass, field
from typing import Any

DATASET = "flights"
MODEL = "late"
YEAR = 2013


@dataclass(frozen=True)
class Plan:
    """The story's figures.

    Attributes:
        months: calendar months, in order; ``spare`` is sent with shuffled labels if no real month was refused.
        rows: flights drawn per month.
        seed: which flights are drawn, and how the labels of the spare month are shuffled.
        budget_seconds: what one search may take.
        drift_month: the month of which, at last, only flights of at least ``drift_miles`` come in.
        drift_rows: these flights' rows, too few to start a training; as many more are predicted.
        drift_budget_seconds: what the search may take that the drift starts.
    """

    seed: int
    months: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    spare: int = 9
    rows: int = 6_000
    budget_seconds: float = 8.0
    drift_month: int = 10
    drift_miles: int = 1_500
    drift_rows: int = 1_000
    drift_budget_seconds: float = 4.0
    kinds: tuple[str, ...] = ("linear", "tree_ensemble")
    #: longest waits in seconds: for rows to be committed, for a training to begin, to end, for logs, for a
    #: new champion and a new key to be known
    patience: dict[str, float] = field(
        default_factory=lambda: {
            "commit": 60,
            "begin": 60,
            "alarm": 30,
            "train": 180,
            "log": 60,
            "champion": 20,
            "key": 15,
        }
    )

    @property
    def policy(self) -> dict[str, Any]:
        """The model's policy: nine tenths of a month's rows start a training."""
        return {
            "min_new_rows": self.rows * 9 // 10,
            "budget_seconds": self.budget_seconds,
            "kinds": list(self.kinds),
            "seed": self.seed % 2**31,
        }

    @property
    def drift_policy(self) -> dict[str, Any]:
        """The changed keys of the last chapter: no number of rows starts a training, drift does, at once.

        Months pass in seconds here, so nothing that earlier months raised may hold this chapter's alarm back.
        """
        return {
            "min_new_rows": None,
            "on_drift": True,
            "budget_seconds": self.drift_budget_seconds,
            "monitoring": {"window_rows": self.drift_rows, "cool_down": 0, "max_alarms_per_day": 1000},
        }


def name_of(month: int) -> str:
    """Return ``January 2013`` for 1."""
    return f"{month_name[month]} {YEAR}"


def is_pushed(month: int) -> bool:
    """Tell whether the month's rows are pushed over HTTP; the others are files put into the bucket."""
    return month % 2 == 1
