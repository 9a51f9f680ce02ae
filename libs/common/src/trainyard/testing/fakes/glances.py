"""Several models at once, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.contracts.glances import Glance, Glances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.registry import ModelRecord
    from trainyard.contracts.scheduling import Records


class MemoryGlances(Glances):
    """Asks the rooms, model by model."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def of(self, models: Sequence[ModelRecord], *, windows: int, hours: int) -> list[Glance]:
        """Look at each model."""
        return [self._glance(model, windows, hours) for model in models]

    def _glance(self, model: ModelRecord, windows: int, hours: int) -> Glance:
        room = self._records.monitoring
        return Glance(
            model=model,
            version=next(iter(self._records.versions.versions(model.id, 1, None)), None),
            decision=next(iter(self._records.requests.decisions(model.id, 1, None)), None),
            alarm=next(iter(self._records.alarms.page(model.id, 1)), None),
            drift=next(iter(room.recent(model.id, "drift", 1)), None),
            judged=room.recent(model.id, "quality", windows),
            traffic=room.traffic(model.id, hours),
        )
