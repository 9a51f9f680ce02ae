"""Keeping the house: records that have had their time, and objects that no version refers to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

#: What is forgotten: 'events' (the stream), 'messages' (of the outbox, sent), 'answers' (to POSTs with an
#: Idempotency-Key), 'decisions' (of policies), 'launches' (that are over), 'workers' (since their last word), 'alarms'
#: (that were settled) and 'windows' (that no alarm refers to). Of each version and detector the newest window stays,
#: with its alarm: the next one is cut behind it. 'labels' are those of predictions that the log has forgotten: given
#: before the months that it keeps, of a prediction that is not in it; labels by the key of a dataset's row stay.
#: 'shadows' are comparisons with a shadow, 'lines' what runs have said, 'traffic' the predictions
#: that were counted.
KINDS = (
    "events", "messages", "answers", "decisions", "launches", "workers", "alarms", "windows", "labels", "shadows",
    "lines", "traffic",
)  # fmt: skip


@dataclass(frozen=True)
class Forgotten:
    """What one step took out of the prediction log: the table of a ``month`` (None: none), and single ``rows``."""

    month: str | None
    rows: int


@dataclass(frozen=True)
class ReleasedExtract:
    """An object with a version's rows that the version does not refer to any more."""

    model: str
    version: int
    key: str


@dataclass(frozen=True)
class Upload:
    """A multipart upload that was begun and neither completed nor aborted; ``begun_at`` by the clock of the store."""

    key: str
    upload_id: str
    begun_at: datetime


class Uploads(Protocol):
    """The unfinished multipart uploads of one bucket; :class:`~trainyard.errors.TransientError` when it is away."""

    def unfinished(self) -> Iterator[Upload]:
        """Yield every one."""
        ...

    def abort(self, upload: Upload) -> None:
        """Throw its parts away; no error when it is completed or aborted already."""
        ...


class Upkeep(Protocol):
    """The records' side, inside one transaction; ages by the clock of the database."""

    def now(self) -> datetime:
        """Return the database's time."""
        ...

    def forget(self, kind: str, *, older_than_seconds: float, keep_newest: int, limit: int) -> int:
        """Remove at most ``limit`` records of a kind (:data:`KINDS`) that are older; return how many.

        The newest ``keep_newest`` stay however old they are: of all events, of each model's decisions. Other kinds
        take 0 only.
        """
        ...

    def forget_predictions(self, *, older_than_seconds: float, limit: int) -> Forgotten:
        """Take the oldest month out of the prediction log, if it ended before; and make the months that come next.

        The current month never goes. What was logged before the log had months goes row by row, at most ``limit``
        of them, and by the same bound. From then on the log takes nothing that was predicted before that bound.

        Raises:
            TransientError: somebody reads the month just now; nothing has changed.
        """
        ...

    def release_extracts(self, *, limit: int) -> list[ReleasedExtract]:
        """Take the extract from versions whose rows went, by an erasure or with the dataset; at most ``limit``.

        Where another version has the same extract, and its rows are still there, the object keeps that reference.
        """
        ...

    def unreferenced(self, keys: Sequence[str]) -> list[str]:
        """Return those of the object keys that no version has as artifact or extract, in the order given."""
        ...

    def still(self, model: str) -> bool:
        """Tell whether no request of that model is open, and let none be made until the transaction's end.

        A name that no model has, or had, is still.
        """
        ...
