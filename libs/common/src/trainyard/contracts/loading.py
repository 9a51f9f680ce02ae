"""Batches that are on their way in: how far each is, for people who wait. The ledger knows only those that are over.

The board is a comfort. Whoever loads writes on it beside the load, never as a part of it: a board that does not answer
neither fails nor holds up a load. Whoever reads it gets what was written last, about a second ago.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from trainyard.contracts.warehouse import Dataset

#: ``receiving`` the body, ``waiting`` for another batch of the dataset, ``loading`` rows, ``committing`` them.
STAGES = ("receiving", "waiting", "loading", "committing")
#: A line that was not touched for so long belongs to a process that is no more, and is not shown.
FORGOTTEN_SECONDS = 60.0
#: How often a line is written again while its stage stays the same.
TOUCHED_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Origins:
    """Where a batch comes from. ``bytes_total``: the length of its body as it is sent, None while nobody knows it."""

    source: str
    source_name: str
    trace_id: str | None = None
    bytes_total: int | None = None


@dataclass(frozen=True)
class Loading:
    """A batch on its way in.

    Attributes:
        id: what the batch will have.
        dataset: its name.
        stage: one of :data:`STAGES`.
        bytes_done: bytes of the body that were received.
        rows_done: rows that were read and checked, rejected ones included.
        started_at: by the clock of the board.
    """

    id: str
    dataset: str
    origins: Origins
    stage: str
    bytes_done: int
    rows_done: int
    started_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md: a batch in the state ``loading``, with its ``progress``."""
        return {
            "id": self.id,
            "dataset": self.dataset,
            "source": self.origins.source,
            "source_name": self.origins.source_name,
            "state": "loading",
            "rows": 0,
            "rejected": 0,
            "first_seq": None,
            "last_seq": None,
            "reason": None,
            "created_at": self.started_at.isoformat(),
            "trace_id": self.origins.trace_id,
            "progress": {
                "stage": self.stage,
                "bytes_done": self.bytes_done,
                "bytes_total": self.origins.bytes_total,
                "rows_done": self.rows_done,
                "started_at": self.started_at.isoformat(),
            },
        }


class LoadingLine(Protocol):
    """One batch's line on the board. No method raises, and none waits long."""

    def touch(self, stage: str, bytes_done: int, rows_done: int) -> None:
        """Write how far the batch is: when the stage is another one, else at most once a second."""
        ...

    def end(self) -> None:
        """Wipe the line out: the batch is in the ledger, or there is none."""
        ...


class LoadingBoard(Protocol):
    """Readers raise :class:`~trainyard.errors.TransientError` when the board does not answer."""

    def begin(self, batch_id: str, dataset: Dataset, origins: Origins) -> LoadingLine:
        """Return a line for a batch of the dataset; it stands on the board from its first touch.

        That one also wipes out the lines of processes that are no more.
        """
        ...

    def listed(self, dataset: Dataset, limit: int) -> list[Loading]:
        """Return the dataset's batches on their way in, newest first, without those that are in the ledger."""
        ...

    def find(self, batch_id: str) -> Loading | None:
        """Return the batch on its way in with that id, which may be any text; None without one."""
        ...
