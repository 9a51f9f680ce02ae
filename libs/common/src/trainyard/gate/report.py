"""What the gate says of a version: its checks, the verdict, the figures behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainyard.gate.paired import Interval
    from trainyard.gate.slices import Slices


@dataclass(frozen=True)
class Check:
    """One demand: passed when ``value`` fulfils ``threshold`` as ``words`` say. None: could not be measured.

    ``soft``: what it asks for is no question of better or worse; a person may decide otherwise.
    """

    name: str
    value: float | None
    threshold: float
    passed: bool
    words: str
    soft: bool = False


@dataclass(frozen=True)
class Cost:
    """What the version costs to serve; None: not measured."""

    latency_us: float | None = None
    size_bytes: int | None = None


NOT_MEASURED = Cost()


@dataclass(frozen=True)
class GateReport:
    """The verdict; ``passed`` when every check did. ``metrics`` by model: challenger, champion (if any), prior.

    ``interval`` is that of the gain over the champion and ``slices`` the parts of the rows in which it was looked at;
    None without one, or when it could not be measured. ``borderline``: it passed by a hair, or failed soft checks only.
    """

    summary: str
    passed: bool
    checks: tuple[Check, ...]
    rows: int
    metrics: dict[str, dict[str, float]]
    champion_version: int | None
    interval: Interval | None = None
    slices: Slices | None = None
    cost: Cost = NOT_MEASURED
    borderline: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, the sentence first."""
        return asdict(self)
