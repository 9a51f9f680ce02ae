"""The warehouse: datasets, the rows in them, and the ledger of batches. Postgres is the implementation.

A batch is stored whole or not at all, and once: its fingerprint is unique within its dataset. Rows are numbered in
commit order (``ingest_seq`` 1, 2, 3 ... without gaps), so nothing at or below a ``last_seq`` that anybody has seen
can appear later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from trainyard.dataset_settings import DatasetSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from datetime import datetime

    from trainyard.errors import Problem
    from trainyard.schema import Schema

#: Most problems of one batch that are kept; its count of rejected rows is exact all the same.
MAX_REJECTS_KEPT = 10_000
#: The sources a batch may come from.
SOURCES = ("http", "landing", "pull")


@dataclass(frozen=True)
class Dataset:
    """A typed table.

    Attributes:
        last_seq: the number of its newest row; numbers are never given again.
        removed: how many rows an erasure or the retention took away.
        revision: rises with every change of the columns.
    """

    id: int
    name: str
    schema: Schema
    last_seq: int
    created_at: datetime
    settings: DatasetSettings = field(default_factory=DatasetSettings)
    removed: int = 0
    revision: int = 1

    @property
    def rows(self) -> int:
        """How many rows there are: they are numbered without gaps, and some may have been removed."""
        return self.last_seq - self.removed

    @property
    def physical(self) -> tuple[str, ...]:
        """Names of the columns in the table beneath, in the schema's order."""
        return tuple(f"c{number}" for number in range(1, len(self.schema.columns) + 1))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md."""
        return {
            "name": self.name,
            **self.schema.to_dict(),
            "settings": self.settings.as_dict(),
            "revision": self.revision,
            "rows": self.rows,
            "last_seq": self.last_seq,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True)
class Batch:
    """An entry of the ledger; ``state`` is ``committed``, or ``refused`` with the ``reason``."""

    id: str
    dataset: str
    source: str
    source_name: str
    state: str
    rows: int
    rejected: int
    first_seq: int | None
    last_seq: int | None
    reason: str | None
    created_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md."""
        return {**self.__dict__, "created_at": self.created_at.isoformat()}


@dataclass(frozen=True)
class Taken:
    """What the ledger holds of one source and state, all datasets together."""

    source: str
    state: str
    batches: int
    rows: int
    rejected: int


@dataclass(frozen=True)
class Rows:
    """Checked rows on their way in, as CSV: what every format becomes and every warehouse takes as it is.

    ``chunks`` yields whole records and is read once; it may raise what the reading of the source raises. A record has
    one cell for each of ``columns``; columns of the schema that are not listed are missing in all rows. The bytes are
    UTF-8 without NUL: commas between cells, ``\\n`` behind each record, quotes as in RFC 4180, no header, and no
    record that begins with an unquoted backslash. A cell is a decimal or scientific number, ``t`` or ``f`` or another
    spelling that the schema takes, an ISO 8601 date or time with zone, or the text itself. The unquoted empty cell is
    missing; the quoted one is the empty text, or missing too when ``quoted_empty_is_missing``.
    """

    columns: tuple[str, ...]
    chunks: Iterator[bytes]
    quoted_empty_is_missing: bool = False


@dataclass(frozen=True)
class Intake:
    """What the ledger keeps of one batch besides its rows; known once the source was read to its end."""

    source: str
    source_name: str
    fingerprint: str
    body_sha256: str
    trace_id: str | None = None
    rejected: int = 0
    rejects: Sequence[Problem] = field(default_factory=tuple)


@dataclass(frozen=True)
class Stored:
    """A batch in the ledger. ``new``: this call put it there; else an earlier one with the same fingerprint did."""

    batch: Batch
    body_sha256: str
    new: bool


class Warehouse(Protocol):
    """Every method raises :class:`~trainyard.errors.TransientError` when the database does not answer."""

    def create(
        self, name: str, schema: Schema, *, actor: str, settings: DatasetSettings | None = None
    ) -> tuple[Dataset, bool]:
        """Make a dataset and return it and True, or the one that exists with just these columns and False.

        The settings (None: the defaults) are those of a dataset that is made; one that exists keeps its own.

        Raises:
            ServiceError: ``conflict``: it exists with other columns.
        """
        ...

    def dataset(self, name: str) -> Dataset:
        """Return the dataset.

        Raises:
            ServiceError: ``unknown_dataset``.
        """
        ...

    def datasets(self, *, limit: int, after: str | None = None) -> list[Dataset]:
        """Return datasets in the order of their names, those behind the name ``after``."""
        ...

    def delete(self, name: str, *, actor: str) -> None:
        """Remove a dataset and its rows; the ledger stays.

        Raises:
            ServiceError: ``unknown_dataset``, or ``in_use``: a model reads it.
        """
        ...

    def load(
        self,
        dataset: Dataset,
        rows: Rows,
        conclude: Callable[[], Intake],
        *,
        fingerprint: str | None = None,
        batch_id: str | None = None,
    ) -> Stored:
        """Store a batch in one transaction: rows, ledger entry, rejects, ``last_seq``, the message 'data arrived'.

        The dataset is locked from before the first chunk is read to COMMIT. ``conclude`` is called once all chunks were
        read; what it raises abandons the batch. A batch whose fingerprint is in the ledger is not stored again: the
        answer is the earlier one. Where the fingerprint is known before, no chunk is read then. ``batch_id`` is a UUID
        for a batch that people may know before it is stored; None: the warehouse makes one.

        Raises:
            ServiceError: ``unknown_dataset`` when it was deleted meanwhile; ``invalid_rows`` for a row that is too
                wide for the database.
        """
        ...

    def refuse(self, dataset: Dataset, intake: Intake, reason: str) -> Stored:
        """Enter a batch that was refused as a whole, so that it is not tried again and people see why.

        Raises:
            ServiceError: ``unknown_dataset`` when it was deleted meanwhile.
        """
        ...

    def find(self, dataset: Dataset, fingerprint: str) -> Stored | None:
        """Return the batch with that fingerprint, or None."""
        ...

    def known(self, dataset: Dataset, fingerprints: Collection[str]) -> set[str]:
        """Return those of ``fingerprints`` that are in the ledger."""
        ...

    def batches(
        self, dataset: Dataset, *, limit: int, after: str | None = None, state: str | None = None
    ) -> list[Batch]:
        """Return batches, newest first, those older than the batch with the id ``after``, those in ``state``."""
        ...

    def batch(self, dataset: Dataset, batch_id: str) -> Batch:
        """Return one batch; ``batch_id`` may be any text.

        Raises:
            ServiceError: ``unknown_batch``.
        """
        ...

    def batch_of_any(self, batch_id: str) -> Batch:
        """Return the batch with that id, whichever dataset it belongs to; ``batch_id`` may be any text.

        Raises:
            ServiceError: ``unknown_batch``: there is none, or its dataset was deleted.
        """
        ...

    def rejects(self, batch: Batch, *, limit: int, after: int = 0) -> list[tuple[int, Problem]]:
        """Return the problems of the batch behind ordinal ``after`` (the first is 1), with their ordinals."""
        ...

    def taken(self) -> list[Taken]:
        """Return what has come in so far, by source and state."""
        ...
