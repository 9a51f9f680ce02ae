"""The warehouse on Postgres: a table and a view for each dataset, batches by COPY in one transaction."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trainyard.adapters.postgres import blocks, copying, dataset_records, journal, ledger
from trainyard.adapters.postgres.engine import transaction
from trainyard.contracts.warehouse import Stored, Warehouse
from trainyard.crashpoints import crashpoint
from trainyard.dataset_settings import DatasetSettings
from trainyard.errors import ServiceError, TransientError
from trainyard.messages import DataArrived

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trainyard.clock import Clock
    from trainyard.contracts.warehouse import Batch, Dataset, Intake, Rows, Taken
    from trainyard.errors import Problem
    from trainyard.schema import Schema

#: How often, and how far apart, a lost COMMIT is asked for before the caller has to come again.
_SETTLE_ATTEMPTS = 10
_SETTLE_SECONDS = 0.5
_MAX_SEQ = 2**63 - 1
#: How long a batch waits for the one before it.
_LOCK_SECONDS = 60

_CREATE = f"""
    INSERT INTO core.dataset (name, columns, settings)
    VALUES (:name, CAST(:columns AS jsonb), CAST(:settings AS jsonb))
    ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING RETURNING {dataset_records.FIELDS}"""  # noqa: S608 - constants


class _KnownError(Exception):
    """The batch turned out to be in the ledger after its rows were copied; never leaves this module."""

    def __init__(self, earlier: Stored) -> None:
        super().__init__(earlier.batch.id)
        self.earlier = earlier


class PostgresWarehouse(Warehouse):
    """The schemas ``core``, ``data_`` and ``data`` of the engine's database."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # --- datasets ---

    def create(
        self, name: str, schema: Schema, *, actor: str, settings: DatasetSettings | None = None
    ) -> tuple[Dataset, bool]:
        """Make the dataset's record, table and view, or return the one that exists alike."""
        with transaction(self._engine) as connection:
            row = connection.execute(
                sa.text(_CREATE),
                {
                    "name": name,
                    "columns": json.dumps(dataset_records.columns_json(schema)),
                    "settings": json.dumps((settings or DatasetSettings()).as_dict()),
                },
            ).one_or_none()
            if row is None:
                existing = dataset_records.by_name(connection, name)
                if existing.schema != schema:
                    raise ServiceError("conflict", f"the dataset '{name}' exists with other columns")
                return existing, False
            dataset = dataset_records.of_row(row)
            copying.shape(connection, dataset.id)
            journal.audit(connection, actor=actor, action="dataset.create", subject=f"dataset/{name}", details={})
            journal.announce(connection, "dataset.created", f"dataset/{name}", {})
            return dataset, True

    def dataset(self, name: str) -> Dataset:
        """Return the dataset."""
        with transaction(self._engine) as connection:
            return dataset_records.by_name(connection, name)

    def datasets(self, *, limit: int, after: str | None = None) -> list[Dataset]:
        """Return datasets by name."""
        with transaction(self._engine) as connection:
            return dataset_records.listed(connection, limit=limit, after=after or "")

    def delete(self, name: str, *, actor: str) -> None:
        """Drop the dataset's table and view; its record stays, marked, for the ledger."""
        with transaction(self._engine) as connection:
            dataset = dataset_records.by_name(connection, name, "FOR UPDATE")
            model = connection.execute(
                sa.text(
                    "SELECT name FROM core.model WHERE dataset_id = :id AND deleted_at IS NULL ORDER BY name LIMIT 1"
                ),
                {"id": dataset.id},
            ).scalar_one_or_none()
            if model is not None:
                raise ServiceError("in_use", f"the dataset '{name}' is read by the model '{model}'; delete that first")
            connection.execute(sa.text("UPDATE core.dataset SET deleted_at = now() WHERE id = :id"), {"id": dataset.id})
            copying.shape(connection, dataset.id)
            blocks.forget(connection, dataset.id, 1, _MAX_SEQ)
            connection.execute(sa.text("DELETE FROM core.level WHERE dataset_id = :id"), {"id": dataset.id})
            journal.audit(connection, actor=actor, action="dataset.delete", subject=f"dataset/{name}", details={})
            journal.announce(connection, "dataset.deleted", f"dataset/{name}", {})

    # --- batches, in ---

    def load(
        self,
        dataset: Dataset,
        rows: Rows,
        conclude: Callable[[], Intake],
        *,
        fingerprint: str | None = None,
        batch_id: str | None = None,
    ) -> Stored:
        """Under the dataset's lock: COPY straight into the table, then enter the batch."""
        sent: tuple[Intake, Stored] | None = None
        ident = uuid.UUID(batch_id) if batch_id else uuid.uuid4()
        try:
            with transaction(self._engine) as connection:
                last_seq = self._lock(connection, dataset)
                if fingerprint is not None and (earlier := ledger.find(connection, dataset, fingerprint)) is not None:
                    return earlier
                count = copying.load(connection, dataset, rows, last_seq)
                crashpoint("K5")
                intake = conclude()
                sent = intake, self._conclude(connection, dataset, intake, ident, (last_seq + 1, last_seq + count))
        except _KnownError as known:
            return known.earlier
        except TransientError as lost:
            if sent is None:  # it failed before COMMIT, so nothing is stored
                raise
            return self._settle(dataset, *sent, lost)
        crashpoint("K8")
        return sent[1]

    def refuse(self, dataset: Dataset, intake: Intake, reason: str) -> Stored:
        """Enter the refusal in the ledger."""
        with transaction(self._engine) as connection:
            self._lock(connection, dataset)
            earlier = ledger.find(connection, dataset, intake.fingerprint)
            if earlier is not None:
                return earlier
            stored = ledger.enter(connection, dataset, intake, uuid.uuid4(), reason=reason)
            journal.announce(connection, "batch.refused", f"dataset/{dataset.name}", stored.batch.as_dict())
            return stored

    def _conclude(
        self, connection: sa.Connection, dataset: Dataset, intake: Intake, batch_id: uuid.UUID, span: tuple[int, int]
    ) -> Stored:
        """Write everything besides the rows that the batch leaves behind."""
        earlier = ledger.find(connection, dataset, intake.fingerprint)
        if earlier is not None:
            raise _KnownError(earlier)
        last = span[1]
        stored = ledger.enter(connection, dataset, intake, batch_id, span=span)
        crashpoint("K6")
        connection.execute(
            sa.text("UPDATE core.dataset SET last_seq = :last WHERE id = :id"), {"last": last, "id": dataset.id}
        )
        journal.post(connection, "arrived", DataArrived(dataset.name, str(batch_id), last))
        journal.announce(connection, "batch.committed", f"dataset/{dataset.name}", stored.batch.as_dict())
        crashpoint("K7")
        return stored

    def _lock(self, connection: sa.Connection, dataset: Dataset) -> int:
        """Hold the dataset until COMMIT; return its last number. Readers and foreign keys are not held up."""
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
        last_seq: int | None = connection.execute(
            sa.text("SELECT last_seq FROM core.dataset WHERE id = :id AND deleted_at IS NULL FOR NO KEY UPDATE"),
            {"id": dataset.id},
        ).scalar_one_or_none()
        if last_seq is None:
            raise ServiceError("unknown_dataset", f"the dataset '{dataset.name}' was deleted meanwhile")
        return last_seq

    def _settle(self, dataset: Dataset, intake: Intake, sent: Stored, lost: TransientError) -> Stored:
        """Find out whether a transaction whose end was lost was committed: the ledger knows.

        The dataset's lock is taken first: a server process that still works on that COMMIT holds it.
        """
        for _ in range(_SETTLE_ATTEMPTS):
            try:
                with transaction(self._engine) as connection:
                    self._lock(connection, dataset)
                    found = ledger.find(connection, dataset, intake.fingerprint)
            except TransientError:
                self._clock.sleep(_SETTLE_SECONDS)
                continue
            if found is None:
                raise lost
            return Stored(found.batch, found.body_sha256, new=sent.new and found.batch.id == sent.batch.id)
        raise lost

    # --- batches, out ---

    def find(self, dataset: Dataset, fingerprint: str) -> Stored | None:
        """Return the batch with that fingerprint, or None."""
        with transaction(self._engine) as connection:
            return ledger.find(connection, dataset, fingerprint)

    def known(self, dataset: Dataset, fingerprints: Collection[str]) -> set[str]:
        """Return those of ``fingerprints`` that are in the ledger."""
        with transaction(self._engine) as connection:
            return ledger.known(connection, dataset, fingerprints)

    def batches(
        self, dataset: Dataset, *, limit: int, after: str | None = None, state: str | None = None
    ) -> list[Batch]:
        """Return batches, newest first."""
        with transaction(self._engine) as connection:
            return ledger.listed(connection, dataset, limit=limit, after=after, state=state)

    def batch(self, dataset: Dataset, batch_id: str) -> Batch:
        """Return one batch."""
        with transaction(self._engine) as connection:
            return ledger.one(connection, batch_id, dataset)

    def batch_of_any(self, batch_id: str) -> Batch:
        """Return one batch of a dataset that exists."""
        with transaction(self._engine) as connection:
            return ledger.one(connection, batch_id)

    def rejects(self, batch: Batch, *, limit: int, after: int = 0) -> list[tuple[int, Problem]]:
        """Return the problems that were kept, in the order they were found."""
        with transaction(self._engine) as connection:
            return ledger.rejects(connection, batch, limit=limit, after=after)

    def taken(self) -> list[Taken]:
        """Add the ledger up."""
        with transaction(self._engine) as connection:
            return ledger.taken(connection)
