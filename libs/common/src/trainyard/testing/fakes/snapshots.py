"""Datasets in memory, read as snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.contracts.snapshots import Snapshots
from trainyard.errors import ServiceError
from trainyard.snapshot import Snapshot, SnapshotBuilder, line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.schema import Schema


class MemorySnapshots(Snapshots):
    """Datasets by id. ``outage`` is raised by every read while it is set."""

    def __init__(self) -> None:
        self._datasets: dict[int, tuple[Schema, list[Mapping[str, Any]]]] = {}
        self.outage: Exception | None = None

    def store(self, dataset_id: int, schema: Schema, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append clean rows (as ``schema.check_value`` gives values); they are numbered from 1."""
        self._datasets.setdefault(dataset_id, (schema, []))[1].extend(rows)

    def read(self, dataset_id: int, upto_seq: int, *, progress: Callable[[int], None] | None = None) -> Snapshot:
        """Build the snapshot through the same lines as the database does."""
        if self.outage is not None:
            raise self.outage
        if dataset_id not in self._datasets:
            raise ServiceError("unknown_dataset", "the dataset was deleted")
        schema, rows = self._datasets[dataset_id]
        spans: dict[Any, list[int]] = {}
        for seq, row in enumerate(rows[:upto_seq], start=1):
            key = tuple(row.get(c.name) for c in schema.keys)
            spans.setdefault(key if key and None not in key else seq, []).append(seq)
        latest = sorted((numbers[-1], numbers[0]) for numbers in spans.values())
        builder = SnapshotBuilder(schema, upto_seq)
        builder.add([line(schema, last, rows[last - 1]) for last, _ in latest], [first for _, first in latest])
        if progress is not None:
            progress(len(latest))
        return builder.build()
