"""What happens to a dataset besides loading: its columns change, rows go again, and reports say what it holds.

Everything here that changes rows or columns is done under the dataset's lock, one after the other with loading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.warehouse import Dataset
    from trainyard.schema import Column, Schema

#: Most levels of a category column that are known; whether a level is new cannot be told beyond.
MAX_LEVELS_KNOWN = 10_000
#: Reports, the newest, that one profile is put together of.
MOST_MERGED = 2_000
#: Most rows that one step of the retention removes, so that nobody waits long for the dataset.
EXPIRED_AT_ONCE = 50_000


@dataclass(frozen=True)
class Erasure:
    """What an erasure did. ``not_reproducible``: the versions whose snapshot held one of the rows."""

    id: str
    rows: int
    not_reproducible: tuple[tuple[str, int], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md."""
        versions = [{"model": model, "version": version} for model, version in self.not_reproducible]
        return {"erased_rows": self.rows, "erasure_id": self.id, "not_reproducible": versions}


@dataclass(frozen=True)
class BatchQuality:
    """How good the rows of a batch were. A refused one has no rows.

    ``missing`` is the share of all values of the batch that are missing, ``columns`` those of each column that lacks
    any, by name; None and empty until the batch has its report.
    """

    batch_id: str
    created_at: datetime
    state: str
    rows: int
    rejected: int
    missing: float | None
    columns: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md."""
        return {
            "batch": self.batch_id,
            "created_at": self.created_at.isoformat(),
            "state": self.state,
            "rows": self.rows,
            "rejected": self.rejected,
            "missing": self.missing,
            "columns": dict(self.columns),
        }


def missing_of(report: Mapping[str, Any] | None) -> tuple[float | None, dict[str, float]]:
    """Return ``missing`` and ``columns`` of a batch with this report (``seen`` and, for each column, ``nulls``)."""
    told = (
        {} if report is None else {one["name"]: one["nulls"] for one in report["columns"] if one["nulls"] is not None}
    )
    seen = 0 if report is None else report["seen"]
    if not told or not seen:
        return None, {}
    return sum(told.values()) / (seen * len(told)), {name: nulls / seen for name, nulls in told.items() if nulls}


class Keeping(Protocol):
    """Every method raises :class:`~trainyard.errors.TransientError` when the database does not answer in time.

    That is also said when the dataset, or its table, stays locked by another for seconds: try again later.
    """

    def reshape(self, dataset: Dataset, wanted: Schema, settings: Mapping[str, Any], *, actor: str) -> Dataset:
        """Bring the dataset to these columns and to those settings that are named; nothing when it is so.

        Columns are matched by name; new ones are put behind the others. The change is recorded as a revision,
        audited and announced. Nothing is changed when an error is raised.

        Raises:
            ServiceError: ``narrowing``; ``invalid_schema``; ``bad_request`` for settings that cannot be;
                ``unknown_dataset``; ``in_use``: something that was built on the view is in the way.
        """
        ...

    def evolve(self, dataset: Dataset, columns: Sequence[Column], *, actor: str) -> Dataset:
        """Add those of ``columns`` that the dataset does not have, as nullable features; return it as it is then.

        A column of the name that somebody added meanwhile stays as it is, whatever its type.

        Raises:
            ServiceError: ``invalid_schema``: the columns cannot be, or are too many; ``unknown_dataset``.
        """
        ...

    def erase(self, dataset: Dataset, key: Mapping[str, Any], *, actor: str, once: Repeatable | None = None) -> Erasure:
        """Remove every row of the key (clean values by the names of all key columns) and leave a tombstone.

        A key that no row has leaves one as well: it proves that it was asked for and that nothing was there. With
        ``once`` the same call again gives the first answer.

        Raises:
            ServiceError: ``unknown_dataset``; ``key_reused``.
        """
        ...

    def expire(self) -> int:
        """Remove at most :data:`EXPIRED_AT_ONCE` rows that have outlived their dataset's retention; return how many.

        0: there is nothing to remove just now.
        """
        ...

    def take_report(self) -> bool:
        """Make the report of one committed batch that has none, oldest first; False: there is none to make."""
        ...

    def quality(self, dataset: Dataset, *, limit: int, after: str | None = None) -> list[BatchQuality]:
        """Return at most ``limit`` of the dataset's batches that are older than the batch ``after``, newest first.

        Raises:
            ServiceError: ``unknown_batch``: ``after`` is none of the dataset's.
        """
        ...

    def report(self, batch_id: str) -> dict[str, Any] | None:
        """Return the batch's quality report as docs/api.md shows it, None while there is none."""
        ...

    def profile(self, dataset: Dataset, *, most: int = MOST_MERGED) -> dict[str, Any]:
        """Return what the reports say of the whole dataset, as docs/api.md shows it."""
        ...
