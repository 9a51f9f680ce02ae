"""Reading a dataset's rows for training. Postgres is the implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.snapshot import Snapshot


class Snapshots(Protocol):
    """Every method raises :class:`~trainyard.errors.TransientError` when the database does not answer."""

    def read(self, dataset_id: int, upto_seq: int, *, progress: Callable[[int], None] | None = None) -> Snapshot:
        """Return the dataset's rows up to ``upto_seq``; the same call gives the same snapshot, always.

        ``progress`` is called now and then with the number of rows so far; what it raises ends the reading.

        Raises:
            ServiceError: ``unknown_dataset``: it was deleted, or never was.
        """
        ...
