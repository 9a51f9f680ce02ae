"""The fleet's own ledger: a launch is committed here before EC2 is asked, and its id is the instance's tag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trainyard.contracts.fleet import Instance, LaunchSpec

#: Why a launch failed: there is nothing to be had just now, or nothing until somebody changes something.
CAPACITY, REFUSED = "capacity", "refused"


@dataclass(frozen=True)
class Launch:
    """A launch.

    Attributes:
        state: 'asked' (EC2's answer is not known), 'launched', or, when it is over, 'failed' or 'ended'.
        age: seconds of its state.
        market, usd_per_hour: of its instance; None when unknown.
    """

    id: str
    state: str
    instance_id: str | None
    spec: LaunchSpec
    age: float
    created_at: datetime
    instance_type: str | None = None
    zone: str | None = None
    market: str | None = None
    usd_per_hour: float | None = None


@dataclass(frozen=True)
class Failure:
    """Launches of one spec that failed since the last one that did not.

    Attributes:
        count: how many in a row, of the last day.
        seconds_ago: since the last.
        kind: :data:`CAPACITY` or :data:`REFUSED`, of the last.
        error: EC2's words, of the last.
    """

    spec: LaunchSpec
    count: int
    seconds_ago: float
    kind: str
    error: str


@dataclass(frozen=True)
class Usage:
    """What this environment's instances have used since midnight, UTC.

    Attributes:
        hours: instance hours.
        usd: US dollars, of the hours whose price is known.
        unpriced_hours: those among ``hours`` whose price is not.
    """

    hours: float
    usd: float
    unpriced_hours: float


class Launches(Protocol):
    """The ledger inside one transaction."""

    def lock(self) -> None:
        """Let one scheduler at a time decide who should be running, until the transaction's end."""
        ...

    def open(self) -> list[Launch]:
        """Return every launch that is not over, oldest first."""
        ...

    def of_instances(self, instance_ids: Sequence[str]) -> list[Launch]:
        """Return the launches that became these instances, those that are over included, oldest first."""
        ...

    def failures(self) -> list[Failure]:
        """Return the failures in a row of every spec that has some."""
        ...

    def usage(self) -> Usage:
        """Return what was used today."""
        ...

    def ask(self, spec: LaunchSpec, reason: str) -> str:
        """Add a launch in state 'asked'; return its id."""
        ...

    def claim(self, launch_id: str, seconds: float) -> Launch | None:
        """Return the launch if it is still 'asked' and nobody else asks EC2 for it; nobody else will for so long."""
        ...

    def unclaim(self, launch_id: str) -> None:
        """Let others ask EC2 for it at once."""
        ...

    def launched(self, launch_id: str, instance: Instance, usd_per_hour: float | None) -> None:
        """Note EC2's answer; a launch that has an instance keeps it."""
        ...

    def failed(self, launch_id: str, kind: str, error: str) -> None:
        """Note that EC2 gives nothing, in its own words, unless it has given something meanwhile."""
        ...

    def ended(self, launch_ids: Sequence[str], reason: str) -> None:
        """Note that these instances are gone or ordered to go, and why."""
        ...

    def first_today(self, notice: str) -> bool:
        """Tell whether nobody has asked this about ``notice`` since midnight, UTC."""
        ...
