"""A board of batches on their way in, in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from trainyard.contracts.loading import FORGOTTEN_SECONDS, TOUCHED_EVERY_SECONDS, Loading, LoadingBoard, Origins

if TYPE_CHECKING:
    from datetime import datetime

    from trainyard.clock import Clock
    from trainyard.contracts.loading import LoadingLine
    from trainyard.contracts.warehouse import Dataset, Warehouse


@dataclass
class _Kept:
    loading: Loading
    touched_at: datetime


class MemoryLoadingBoard(LoadingBoard):
    """Keeps lines, and every word in :attr:`words` as (stage, bytes, rows).

    Args:
        clock: for the age of lines.
        warehouse: whose ledger has the batches that are over.

    ``outage`` is raised by every reader while it is set, and swallows what is written.
    """

    def __init__(self, clock: Clock, warehouse: Warehouse) -> None:
        self._clock = clock
        self._warehouse = warehouse
        self._lines: dict[str, _Kept] = {}
        self.words: list[tuple[str, int, int]] = []
        self.outage: Exception | None = None

    def begin(self, batch_id: str, dataset: Dataset, origins: Origins) -> LoadingLine:
        """Return a line."""
        blank = Loading(batch_id, dataset.name, origins, "", 0, 0, self._clock.now())
        return _MemoryLine(self, self._clock, blank)

    def listed(self, dataset: Dataset, limit: int) -> list[Loading]:
        """Return the dataset's lines."""
        self._answer()
        known = {batch.id for batch in self._warehouse.batches(dataset, limit=1_000_000)}
        found = [one for one in self._shown() if one.dataset == dataset.name and one.id not in known]
        return sorted(found, key=lambda one: (one.started_at, one.id), reverse=True)[:limit]

    def find(self, batch_id: str) -> Loading | None:
        """Return one line."""
        self._answer()
        for one in self._shown():
            if one.id == batch_id:
                return one if one in self.listed(self._warehouse.dataset(one.dataset), 1_000_000) else None
        return None

    def write(self, line: Loading) -> None:
        """Keep what a line says."""
        if self.outage is None:
            shown = {one.id for one in self._shown()}
            self._lines = {ident: kept for ident, kept in self._lines.items() if ident in shown}
            self._lines[line.id] = _Kept(line, self._clock.now())
            self.words.append((line.stage, line.bytes_done, line.rows_done))

    def wipe(self, batch_id: str) -> None:
        """Forget a line."""
        if self.outage is None:
            self._lines.pop(batch_id, None)

    def __len__(self) -> int:
        """Return how many lines are kept, shown or not."""
        return len(self._lines)

    def age(self, batch_id: str, seconds: float) -> None:
        """Make a line older."""
        self._lines[batch_id].touched_at -= timedelta(seconds=seconds)

    def _shown(self) -> list[Loading]:
        since = self._clock.now() - timedelta(seconds=FORGOTTEN_SECONDS)
        return [kept.loading for kept in self._lines.values() if kept.touched_at >= since]

    def _answer(self) -> None:
        if self.outage is not None:
            raise self.outage


class _MemoryLine:
    def __init__(self, board: MemoryLoadingBoard, clock: Clock, line: Loading) -> None:
        self._board = board
        self._clock = clock
        self._line = line
        self._written_at = float("-inf")
        self._ended = False

    def touch(self, stage: str, bytes_done: int, rows_done: int) -> None:
        now = self._clock.monotonic()
        if self._ended or (stage == self._line.stage and now - self._written_at < TOUCHED_EVERY_SECONDS):
            return
        if not self._line.stage:
            self._line = replace(self._line, started_at=self._clock.now())
        self._line = replace(self._line, stage=stage, bytes_done=bytes_done, rows_done=rows_done)
        self._written_at = now
        self._board.write(self._line)

    def end(self) -> None:
        self._ended = True
        self._board.wipe(self._line.id)
