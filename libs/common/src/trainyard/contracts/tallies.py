"""How much of everything there is, for the scheduler's metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Tally:
    """Counts by state, or by queue; states and queues of which there is none may be missing.

    Attributes:
        requests: training requests, open ones and those that ended.
        request_oldest_seconds: how long the oldest queued request has waited, 0 without one.
        runs: attempts to serve them.
        launches: instances that were asked for and those that run.
        outbox: messages that no queue has taken.
    """

    requests: Mapping[str, int]
    request_oldest_seconds: float
    runs: Mapping[str, int]
    launches: Mapping[str, int]
    outbox: Mapping[str, int]


class Tallies(Protocol):
    """The counting, inside one transaction."""

    def tally(self) -> Tally:
        """Return the counts of now."""
        ...
