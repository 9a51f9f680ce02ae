"""What is newest of several models at once: a question for each kind of thing, not for each model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.monitoring import Alarm, Traffic, WindowRecord
    from trainyard.contracts.registry import ModelRecord, VersionRecord
    from trainyard.contracts.requests import Decision


@dataclass(frozen=True)
class Glance:
    """What is newest of one model; None where there is nothing yet. ``judged``: the newest quality windows."""

    model: ModelRecord
    version: VersionRecord | None
    decision: Decision | None
    alarm: Alarm | None
    drift: WindowRecord | None
    judged: Sequence[WindowRecord]
    traffic: Sequence[Traffic]


class Glances(Protocol):
    """Looks at models, inside one transaction."""

    def of(self, models: Sequence[ModelRecord], *, windows: int, hours: int) -> list[Glance]:
        """Return a glance at each, in their order.

        Each part is what the rooms of the models tell first: versions, decisions, alarms, windows (of quality at most
        ``windows``), and the traffic of so many ``hours``.
        """
        ...
