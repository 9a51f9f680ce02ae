"""Keeping datasets in memory."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from trainyard.contracts.keeping import EXPIRED_AT_ONCE, MOST_MERGED, BatchQuality, Erasure, Keeping, missing_of
from trainyard.dataset_profile import merged
from trainyard.errors import Problem, ServiceError
from trainyard.histogram import counted, place
from trainyard.schema import shown
from trainyard.schema.evolution import EXACT_AS_FLOAT, Evolution, evolution, with_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.clock import Clock
    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.warehouse import Batch, Dataset
    from trainyard.schema import Column, Schema
    from trainyard.testing.fakes.warehouse import MemoryWarehouse


class MemoryKeeping(Keeping):
    """Works on a :class:`MemoryWarehouse`; a removed row leaves an empty one in its place.

    ``versions`` are (model, version, dataset, upto_seq); ``marked`` are those that cannot be reproduced, with the
    erasure's id; ``stones`` the erasures by id, ``audit`` what was done.
    """

    def __init__(self, warehouse: MemoryWarehouse, clock: Clock) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._lock = threading.RLock()
        self._reports: dict[str, dict[str, Any]] = {}
        self._first: dict[tuple[int, str, str], int] = {}
        self._answers: dict[Repeatable, Erasure] = {}
        self.versions: list[tuple[str, int, str, int]] = []
        self.marked: dict[tuple[str, int], str] = {}
        self.stones: dict[str, Erasure] = {}
        self.audit: list[tuple[str, str]] = []

    # --- columns and settings ---

    def reshape(self, dataset: Dataset, wanted: Schema, settings: Mapping[str, Any], *, actor: str) -> Dataset:
        """Change the record, and values that get another type."""
        with self._lock:
            current = self._live(dataset)
            kept = current.settings.changed(settings)
            changed = self._carry_out(current, evolution(current.schema, wanted), actor)
            if kept != changed.settings:
                self.audit.append((actor, f"settings {dataset.name}"))
                changed = self._warehouse.replace(replace(changed, settings=kept))
            return changed

    def evolve(self, dataset: Dataset, columns: Sequence[Column], *, actor: str) -> Dataset:
        """Add columns."""
        with self._lock:
            current = self._live(dataset)
            plan = evolution(current.schema, with_columns(current.schema, columns))
            return self._carry_out(current, plan, actor)

    def _carry_out(self, dataset: Dataset, plan: Evolution, actor: str) -> Dataset:
        if not plan.changes:
            return dataset
        rows = [row for row in self._warehouse.rows[dataset.name] if row]
        problems = [
            Problem(None, name, "whole numbers that a float holds exactly (to 2^53)", str(row[name]))
            for name in plan.exact
            for row in rows
            if row[name] is not None and abs(row[name]) > EXACT_AS_FLOAT
        ]
        if problems:
            raise ServiceError("narrowing", "columns would lose digits; nothing was changed", problems[:1])
        for row in rows:
            for column in plan.schema.columns:
                row[column.name] = _as_type(row.get(column.name), column.type)
        if plan.rewritten:
            self._reports.clear()
        self.audit.append((actor, f"evolve {dataset.name}"))
        return self._warehouse.replace(replace(dataset, schema=plan.schema, revision=dataset.revision + 1))

    # --- rows that go ---

    def erase(self, dataset: Dataset, key: Mapping[str, Any], *, actor: str, once: Repeatable | None = None) -> Erasure:
        """Empty the key's rows."""
        with self._lock:
            if once is not None and once in self._answers:
                return self._answers[once]
            current = self._live(dataset)
            rows = self._warehouse.rows[dataset.name]
            seqs = [
                seq
                for seq, row in enumerate(rows, start=1)
                if row and all(row[name] == value for name, value in key.items())
            ]
            texts = {shown(v.isoformat() if isinstance(v, date) else str(v)) for v in key.values()}
            self._warehouse.forget_rejects(dataset, lambda problem: problem.got in texts)
            erasure = self._remove(current, seqs)
            self.audit.append((actor, f"erase {dataset.name}"))
            if once is not None:
                self._answers[once] = erasure
            return erasure

    def expire(self) -> int:
        """Empty a piece of the oldest rows that are due."""
        with self._lock:
            for dataset in self._warehouse.datasets(limit=1_000):
                days = dataset.settings.retention_days
                if days is None:
                    continue
                young = [
                    b for b in self._committed(dataset) if b.created_at >= self._clock.now() - timedelta(days=days)
                ]
                upto = min((b.first_seq or 0 for b in young), default=dataset.last_seq + 1) - 1
                rows = self._warehouse.rows[dataset.name]
                due = [seq for seq in range(1, upto + 1) if rows[seq - 1]][:EXPIRED_AT_ONCE]
                if due:
                    self._remove(dataset, due)
                    self.audit.append(("retention", f"expire {dataset.name}"))
                    return len(due)
            return 0

    def _remove(self, dataset: Dataset, seqs: Sequence[int]) -> Erasure:
        for batch in self._committed(dataset):
            if any((batch.first_seq or 0) <= seq <= (batch.last_seq or 0) for seq in seqs):
                self._reports.pop(batch.id, None)
        for seq in seqs:
            self._warehouse.rows[dataset.name][seq - 1] = {}
        self._first = {which: seq for which, seq in self._first.items() if seq not in set(seqs)}
        touched = sorted(
            (model, version)
            for model, version, name, upto in self.versions
            if seqs and name == dataset.name and upto >= min(seqs)
        )
        erasure = Erasure(str(uuid.uuid4()), len(seqs), tuple(touched))
        for version in touched:
            self.marked.setdefault(version, erasure.id)
        self.stones[erasure.id] = erasure
        self._warehouse.replace(replace(dataset, removed=dataset.removed + len(seqs)))
        return erasure

    # --- reports ---

    def take_report(self) -> bool:
        """Look at the rows of the oldest batch without a report."""
        with self._lock:
            for dataset in self._warehouse.datasets(limit=1_000):
                for batch in self._committed(dataset):
                    if batch.id not in self._reports:
                        self._reports[batch.id] = self._examine(dataset, batch)
                        return True
            return False

    def quality(self, dataset: Dataset, *, limit: int, after: str | None = None) -> list[BatchQuality]:
        """Read it off ledger and reports."""
        return [
            BatchQuality(b.id, b.created_at, b.state, b.rows, b.rejected, *missing_of(self._reports.get(b.id)))
            for b in self._warehouse.batches(dataset, limit=limit, after=after)
        ]

    def report(self, batch_id: str) -> dict[str, Any] | None:
        """Return the report."""
        return self._reports.get(batch_id)

    def profile(self, dataset: Dataset, *, most: int = MOST_MERGED) -> dict[str, Any]:
        """Join the reports."""
        with_rows = [b for b in self._committed(dataset) if self._rows_of(dataset, b)]
        found = [(b.id, self._reports[b.id]) for b in with_rows if b.id in self._reports]
        told = found[-most:]
        levels = Counter(name for (ident, name, _), _ in self._first.items() if ident == dataset.id)
        return {
            "name": dataset.name,
            "rows": dataset.rows,
            "batches": len(with_rows),
            "reported": len(found),
            "merged": len(told),
            "sampled": False,
            "columns": merged(dataset.schema, [report for _, report in told], levels),
            "newest": {"batch": found[-1][0], "report": found[-1][1]} if found else None,
        }

    def _examine(self, dataset: Dataset, batch: Batch) -> dict[str, Any]:
        rows = self._rows_of(dataset, batch)
        first = batch.first_seq or 0
        earlier = [row for row in self._warehouse.rows[dataset.name][: first - 1] if row]
        names = [c.name for c in dataset.schema.keys]
        keys = [tuple(row[n] for n in names) for _, row in rows if None not in [row[n] for n in names]]
        before = {tuple(row[n] for n in names) for row in earlier}
        whole = [json.dumps(row, default=str, sort_keys=True) for _, row in rows]
        return {
            "rows": len(rows),
            "rejected": batch.rejected,
            "removed": batch.rows - len(rows),
            "seen": len(rows),
            "sampled": False,
            "columns": [self._column(dataset, column, first, rows) for column in dataset.schema.columns],
            "duplicates": {
                "rows": len(whole) - len(set(whole)),
                "keys": len(keys) - len(set(keys)) if names else None,
                "known_keys": len(set(keys) & before) if names else None,
            },
            "unanswered": [],
            "checksum": str(hash(tuple(whole))),
            "reported_at": self._clock.now().isoformat(),
        }

    def _column(
        self, dataset: Dataset, column: Column, first: int, rows: Sequence[tuple[int, dict[str, Any]]]
    ) -> dict[str, Any]:
        there = [(seq, row[column.name]) for seq, row in rows if row[column.name] is not None]
        values = [value for _, value in there]
        ordered = column.type in ("int", "float", "date", "timestamp") and values
        numbers = [float(v) for v in values] if column.type in ("int", "float", "bool") else []
        entry = {
            "name": column.name,
            "type": column.type,
            "nulls": len(rows) - len(values),
            "min": _shown(min(values)) if ordered else None,
            "max": _shown(max(values)) if ordered else None,
            "mean": fmean(numbers) if numbers else None,
            "std": stdev(numbers) if len(numbers) > 1 else None,
            "bins": counted([place(column.type, _shown(v)) for v in values]) if ordered else None,
            "distinct": None if column.type == "float" else len(set(values)),
            "distinct_more": False,
        }
        if column.type != "category":
            return entry
        for seq, value in there:
            which = (dataset.id, column.name, value)
            self._first[which] = min(seq, self._first.get(which, seq))
        frequent = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
        new = sorted(v for v in set(values) if self._first[dataset.id, column.name, v] >= first)
        levels = [{"level": level, "rows": n} for level, n in frequent[:20]]
        return {**entry, "levels": levels, "new_categories": {"count": len(new), "levels": new[:100]}}

    def _rows_of(self, dataset: Dataset, batch: Batch) -> list[tuple[int, dict[str, Any]]]:
        rows = self._warehouse.rows[dataset.name]
        span = range(batch.first_seq or 1, (batch.last_seq or 0) + 1)
        return [(seq, rows[seq - 1]) for seq in span if rows[seq - 1]]

    def _committed(self, dataset: Dataset) -> list[Batch]:
        batches = self._warehouse.batches(dataset, limit=1_000_000)
        return [batch for batch in reversed(batches) if batch.state == "committed"]

    def _live(self, dataset: Dataset) -> Dataset:
        current = self._warehouse.dataset(dataset.name)
        if current.id != dataset.id:
            raise ServiceError("unknown_dataset", "the dataset was deleted meanwhile")
        return current


def _as_type(value: Any, kind: str) -> Any:
    """Return a stored value as the wider type holds it."""
    if kind == "float" and isinstance(value, int):
        return float(value)
    if kind == "timestamp" and isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value.isoformat() if isinstance(value, date) else value
