"""Datasets in memory, read as snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.contracts.snapshots import Snapshots
from trainyard.errors import ServiceError
from trainyard.snapshot.rows import snapshot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.schema import Schema
    from trainyard.snapshot import Snapshot


class MemorySnapshots(Snapshots):
    """Datasets by id. ``outage`` is raised by every read while it is set."""

    def __init__(self) -> None:
        self._datasets: dict[int, tuple[Schema, list[Mapping[str, Any]]]] = {}
        self.outage: Exception | None = None

    def store(self, dataset_id: int, schema: Schema, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append clean rows (as ``schema.check_value`` gives values); they are numbered from 1."""
        self._datasets.setdefault(dataset_id, (schema, []))[1].extend(rows)

    def read(self, dataset_id: int, upto_seq: int, *, progress: Callable[[int], None] | None = None) -> Snapshot:
        """Build the snapshot from the rows."""
        if self.outage is not None:
            raise self.outage
        if dataset_id not in self._datasets:
            raise ServiceError("unknown_dataset", "the dataset was deleted")
        schema, rows = self._datasets[dataset_id]
        if progress is not None:
            progress(min(len(rows), upto_seq))
        return snapshot_of(schema, rows, upto_seq)
