"""The fleet's own ledger: a launch is committed here before EC2 is asked, and its id is the instance's tag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trainyard.contracts.fleet import LaunchSpec


@dataclass(frozen=True)
class Launch:
    """A launch that is not over: 'asked' (EC2's answer is not known) or 'launched'. ``age`` in seconds of its state."""

    id: str
    state: str
    instance_id: str | None
    spec: LaunchSpec
    age: float
    created_at: datetime


@dataclass(frozen=True)
class Failures:
    """Launches that failed since the last one that did not: how many, and how many seconds ago the last."""

    count: int
    seconds_ago: float


class Launches(Protocol):
    """The ledger inside one transaction."""

    def lock(self) -> None:
        """Let one scheduler at a time decide who should be running, until the transaction's end."""
        ...

    def open(self) -> list[Launch]:
        """Return every launch that is not over, oldest first."""
        ...

    def failures(self) -> Failures:
        """Return the failures in a row."""
        ...

    def ask(self, spec: LaunchSpec) -> str:
        """Add a launch in state 'asked'; return its id."""
        ...

    def take(self, launch_id: str) -> Launch | None:
        """Return the launch if it is still 'asked' and nobody else works on it; it is ours until the end."""
        ...

    def launched(self, launch_id: str, instance_id: str, instance_type: str) -> None:
        """Note EC2's answer."""
        ...

    def failed(self, launch_id: str, error: str) -> None:
        """Note that EC2 has no capacity, in its own words."""
        ...

    def ended(self, launch_ids: Sequence[str]) -> None:
        """Note that these instances are gone."""
        ...
