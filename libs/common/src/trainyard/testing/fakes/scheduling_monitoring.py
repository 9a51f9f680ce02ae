"""Alarms in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trainyard.contracts.monitoring import Alarm, Alarms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.testing.fakes.scheduling_state import State


class MemoryAlarms(Alarms):
    """The alarms' room."""

    def __init__(self, state: State) -> None:
        self._state = state

    def open(self, model_id: int) -> list[Alarm]:
        """Return the open alarms."""
        return [alarm for owner, alarm in self._state.alarms if owner == model_id and alarm.outcome is None]

    def settle(self, ids: Sequence[int], *, outcome: str, request_id: str | None) -> None:
        """Note what came of them."""
        self._state.alarms[:] = [
            (owner, replace(alarm, outcome=outcome, request_id=request_id))
            if alarm.id in ids and alarm.outcome is None
            else (owner, alarm)
            for owner, alarm in self._state.alarms
        ]
