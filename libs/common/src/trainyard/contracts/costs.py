"""What training costs: run by run, from the seconds of the run and the price of its instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

#: Of how many of the newest finished runs training times are the mean.
TIMED_RUNS = 200
#: A run counts with at least and at most so many seconds there: one outlier must not rule the fleet.
LEAST_TIMED_SECONDS, MOST_TIMED_SECONDS = 0.1, 6 * 3600.0


@dataclass(frozen=True)
class TrainingTime:
    """How long the newest finished runs took whose requests named these types and this market."""

    instance_types: Sequence[str]
    spot: bool | None
    mean_seconds: float
    runs: int


@dataclass(frozen=True)
class RunCosts:
    """The runs of one model on one instance type that ended on one day (UTC).

    Attributes:
        instance_type: None where the run had no instance.
        seconds: of all runs.
        usd: of the runs whose cost is known; None when it is known of none.
        unpriced_runs: those whose cost is not known.
    """

    day: date
    model: str
    instance_type: str | None
    runs: int
    seconds: float
    usd: float | None
    unpriced_runs: int


@dataclass(frozen=True)
class InstanceCosts:
    """The instances of one type and market on one day (UTC), busy or idle. ``usd`` None: no price is known."""

    day: date
    instance_type: str
    market: str | None
    instances: int
    hours: float
    usd: float | None


class Costs(Protocol):
    """Reads and fills in the costs, inside the scheduler's transaction."""

    def training_times(self) -> list[TrainingTime]:
        """Return the mean times of the newest :data:`TIMED_RUNS` finished runs, by what their requests asked for."""
        ...

    def settle(self) -> int:
        """Give the runs of the last seven days that ended, however, their cost; return how many got one.

        A run on no instance, or on one whose price is not known, stays without.
        """
        ...

    def of_runs(self, first: date, last: date) -> list[RunCosts]:
        """Return the costs of runs that ended on these days, both included, oldest day first."""
        ...

    def of_instances(self, first: date, last: date) -> list[InstanceCosts]:
        """Return the costs of instances on these days, both included, oldest day first."""
        ...

    def today(self) -> date:
        """Return the day of the database's clock, UTC."""
        ...
