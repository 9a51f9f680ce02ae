"""A warehouse in memory."""

from __future__ import annotations

import re
import threading
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainyard.contracts.warehouse import MAX_REJECTS_KEPT, Batch, Dataset, Stored, Taken, Warehouse
from trainyard.dataset_settings import DatasetSettings
from trainyard.errors import ServiceError
from trainyard.messages import DataArrived
from trainyard.schema import parse_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from trainyard.clock import Clock
    from trainyard.contracts.warehouse import Intake, Rows
    from trainyard.errors import Problem
    from trainyard.schema import Schema

#: A quoted cell or a plain one, and what ends it.
_CELL = re.compile(r'("(?:[^"]|"")*")?([^",\n]*)([,\n])')


class MemoryWarehouse(Warehouse):
    """Keeps typed rows (:attr:`rows`, by dataset), what was announced (:attr:`arrived`) and who did it (:attr:`audit`).

    ``models`` maps the name of a model to the dataset it reads. ``outage`` is raised by every call while it is set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._datasets: dict[str, Dataset] = {}
        self._ledger: dict[int, dict[str, Stored]] = {}
        self._rejects: dict[str, list[Problem]] = {}
        self._numbers = iter(range(1, 1_000_000))
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.arrived: list[DataArrived] = []
        self.audit: list[tuple[str, str]] = []
        self.models: dict[str, str] = {}
        self.outage: Exception | None = None

    def create(
        self, name: str, schema: Schema, *, actor: str, settings: DatasetSettings | None = None
    ) -> tuple[Dataset, bool]:
        """Make a dataset."""
        self._answer()
        with self._lock:
            existing = self._datasets.get(name)
            if existing is not None:
                if existing.schema != schema:
                    raise ServiceError("conflict", f"the dataset '{name}' exists with other columns")
                return existing, False
            made = Dataset(next(self._numbers), name, schema, 0, self._clock.now(), settings or DatasetSettings())
            self._datasets[name], self.rows[name], self._ledger[made.id] = made, [], {}
            self.audit.append((actor, f"create {name}"))
            return made, True

    def dataset(self, name: str) -> Dataset:
        """Return the dataset."""
        self._answer()
        if name not in self._datasets:
            raise ServiceError("unknown_dataset", f"there is no dataset '{name}'")
        return self._datasets[name]

    def datasets(self, *, limit: int, after: str | None = None) -> list[Dataset]:
        """Return datasets by name."""
        self._answer()
        return [self._datasets[name] for name in sorted(self._datasets) if name > (after or "")][:limit]

    def delete(self, name: str, *, actor: str) -> None:
        """Remove a dataset."""
        with self._lock:
            self.dataset(name)
            readers = sorted(model for model, dataset in self.models.items() if dataset == name)
            if readers:
                raise ServiceError("in_use", f"the dataset '{name}' is read by the model '{readers[0]}'")
            del self._datasets[name], self.rows[name]
            self.audit.append((actor, f"delete {name}"))

    def load(
        self,
        dataset: Dataset,
        rows: Rows,
        conclude: Callable[[], Intake],
        *,
        fingerprint: str | None = None,
        batch_id: str | None = None,
    ) -> Stored:
        """Read all rows first, so that a failure leaves nothing."""
        self._answer()
        self._live(dataset)
        if fingerprint is not None and (known := self.find(dataset, fingerprint)) is not None:
            return known
        typed = [_typed(dataset.schema, rows, record) for chunk in rows.chunks for record in csv_records(chunk)]
        intake = conclude()
        with self._lock:
            current = self._live(dataset)
            earlier = self.find(dataset, intake.fingerprint)
            if earlier is not None:
                return earlier
            span = (current.last_seq + 1, current.last_seq + len(typed))
            stored = self._enter(dataset, intake, span, None, batch_id)
            self.rows[dataset.name] += typed
            self._datasets[dataset.name] = replace(current, last_seq=span[1])
            self.arrived.append(DataArrived(dataset.name, stored.batch.id, span[1]))
            return stored

    def refuse(self, dataset: Dataset, intake: Intake, reason: str) -> Stored:
        """Enter a refusal."""
        self._answer()
        with self._lock:
            self._live(dataset)
            return self.find(dataset, intake.fingerprint) or self._enter(dataset, intake, None, reason)

    def find(self, dataset: Dataset, fingerprint: str) -> Stored | None:
        """Return the batch with that fingerprint, or None."""
        self._answer()
        stored = self._ledger[dataset.id].get(fingerprint)
        return None if stored is None else replace(stored, new=False)

    def known(self, dataset: Dataset, fingerprints: Collection[str]) -> set[str]:
        """Return those of ``fingerprints`` that are in the ledger."""
        self._answer()
        return set(fingerprints) & set(self._ledger[dataset.id])

    def batches(
        self, dataset: Dataset, *, limit: int, after: str | None = None, state: str | None = None
    ) -> list[Batch]:
        """Return batches, newest first."""
        self._answer()
        newest = [stored.batch for stored in reversed(self._ledger[dataset.id].values())]
        start = 0 if after is None else newest.index(self.batch(dataset, after)) + 1
        return [batch for batch in newest[start:] if state in {None, batch.state}][:limit]

    def batch(self, dataset: Dataset, batch_id: str) -> Batch:
        """Return one batch."""
        self._answer()
        for stored in self._ledger[dataset.id].values():
            if stored.batch.id == batch_id:
                return stored.batch
        raise ServiceError("unknown_batch", f"the dataset '{dataset.name}' has no batch of that id")

    def batch_of_any(self, batch_id: str) -> Batch:
        """Return one batch of a dataset that exists."""
        self._answer()
        for dataset in self._datasets.values():
            for stored in self._ledger[dataset.id].values():
                if stored.batch.id == batch_id:
                    return stored.batch
        raise ServiceError("unknown_batch", "no dataset has a batch of that id")

    def rejects(self, batch: Batch, *, limit: int, after: int = 0) -> list[tuple[int, Problem]]:
        """Return the problems that were kept."""
        self._answer()
        return list(enumerate(self._rejects[batch.id], start=1))[after : after + limit]

    def taken(self) -> list[Taken]:
        """Add the ledger up."""
        self._answer()
        found: dict[tuple[str, str], Taken] = {}
        for stored in [stored for ledger in self._ledger.values() for stored in ledger.values()]:
            batch = stored.batch
            before = found.get((batch.source, batch.state), Taken(batch.source, batch.state, 0, 0, 0))
            found[batch.source, batch.state] = Taken(
                batch.source,
                batch.state,
                before.batches + 1,
                before.rows + batch.rows,
                before.rejected + batch.rejected,
            )
        return [found[key] for key in sorted(found)]

    def replace(self, dataset: Dataset) -> Dataset:
        """Put another record in the place of the dataset's; for what keeps datasets."""
        self._datasets[dataset.name] = dataset
        return dataset

    def forget_rejects(self, dataset: Dataset, told: Callable[[Problem], bool]) -> None:
        """Drop the problems that ``told`` is true of."""
        for stored in self._ledger[dataset.id].values():
            kept = self._rejects[stored.batch.id]
            kept[:] = [problem for problem in kept if not told(problem)]

    def _live(self, dataset: Dataset) -> Dataset:
        current = self._datasets.get(dataset.name)
        if current is None or current.id != dataset.id:
            raise ServiceError("unknown_dataset", f"the dataset '{dataset.name}' was deleted meanwhile")
        return current

    def _enter(
        self,
        dataset: Dataset,
        intake: Intake,
        span: tuple[int, int] | None,
        reason: str | None,
        batch_id: str | None = None,
    ) -> Stored:
        batch = Batch(
            id=batch_id or str(uuid.uuid4()),
            dataset=dataset.name,
            source=intake.source,
            source_name=intake.source_name,
            state="committed" if span else "refused",
            rows=span[1] - span[0] + 1 if span else 0,
            rejected=intake.rejected,
            first_seq=span[0] if span else None,
            last_seq=span[1] if span else None,
            reason=reason,
            created_at=self._clock.now(),
        )
        stored = Stored(batch, intake.body_sha256, new=True)
        self._ledger[dataset.id][intake.fingerprint] = stored
        self._rejects[batch.id] = list(intake.rejects[:MAX_REJECTS_KEPT])
        return stored

    def _answer(self) -> None:
        if self.outage is not None:
            raise self.outage


def csv_records(chunk: bytes) -> list[list[str | None]]:
    """Return the records of a chunk of :class:`Rows`; the unquoted empty cell is None."""
    records: list[list[str | None]] = [[]]
    for quoted, plain, end in _CELL.findall(chunk.decode()):
        records[-1].append(quoted[1:-1].replace('""', '"') if quoted else plain or None)
        if end == "\n":
            records.append([])
    if records.pop():
        raise ValueError("the chunk does not end with a whole record")
    return records


def _typed(schema: Schema, rows: Rows, record: Sequence[str | None]) -> dict[str, Any]:
    """Return the record's values as Postgres would give them back."""
    values: dict[str, Any] = dict.fromkeys(schema.names)
    for name, cell in zip(rows.columns, record, strict=True):
        if cell is None or (cell == "" and rows.quoted_empty_is_missing):
            continue
        column = schema.column(name)
        if cell == "":
            values[name] = ""
            continue
        value, expected = parse_text(column, cell)
        if expected is not None:
            raise ValueError(f"{name}: {cell!r} is not {expected}")
        values[name] = value
    return values
