"""What watching a served model has found: alarms, each raised once for a window and a detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

DETECTORS = ("drift", "quality")


@dataclass(frozen=True)
class Alarm:
    """A window in which a detector found what it looks for; ``outcome`` says what came of it, None so far."""

    id: int
    detector: str
    window_id: str
    reason: str
    numbers: Mapping[str, Any]
    raised_at: datetime
    request_id: str | None
    outcome: str | None


class Alarms(Protocol):
    """The alarms, inside one transaction."""

    def open(self, model_id: int) -> list[Alarm]:
        """Return the alarms that nothing has come of yet, oldest first."""
        ...

    def settle(self, ids: Sequence[int], *, outcome: str, request_id: str | None) -> None:
        """Note what came of these: a request, or the reason why there is none."""
        ...
