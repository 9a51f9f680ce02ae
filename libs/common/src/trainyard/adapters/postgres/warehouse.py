"""The warehouse on Postgres: a table and a view for each dataset, batches by COPY in one transaction."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trainyard.adapters.postgres import copying, journal
from trainyard.adapters.postgres.engine import transaction
from trainyard.contracts.warehouse import MAX_REJECTS_KEPT, Batch, Dataset, Stored, Warehouse
from trainyard.crashpoints import crashpoint
from trainyard.dataset_settings import DatasetSettings
from trainyard.errors import Problem, ServiceError, TransientError
from trainyard.messages import DataArrived
from trainyard.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from trainyard.clock import Clock
    from trainyard.contracts.warehouse import Intake, Rows

#: How often, and how far apart, a lost COMMIT is asked for before the caller has to come again.
_SETTLE_ATTEMPTS = 10
_SETTLE_SECONDS = 0.5
#: How long a batch waits for the one before it.
_LOCK_SECONDS = 60

_DATASET_FIELDS = "id, name, columns, last_seq, created_at, settings, removed_rows, revision"
_DATASET = f"SELECT {_DATASET_FIELDS} FROM core.dataset WHERE deleted_at IS NULL"  # noqa: S608 - of constants
_CREATE = f"""
    INSERT INTO core.dataset (name, columns, settings)
    VALUES (:name, CAST(:columns AS jsonb), CAST(:settings AS jsonb))
    ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING RETURNING {_DATASET_FIELDS}"""  # noqa: S608 - of constants
_BATCH = """
    SELECT b.id, d.name AS dataset, b.source, b.source_name, b.state, b.row_count AS rows,
        b.rejected_count AS rejected, b.first_seq, b.last_seq, b.reason, b.created_at, b.body_sha256
    FROM core.batch b JOIN core.dataset d ON d.id = b.dataset_id WHERE b.dataset_id = :dataset
"""
_ENTER = """
    INSERT INTO core.batch (id, dataset_id, source, source_name, fingerprint, body_sha256, state, row_count,
        rejected_count, first_seq, last_seq, checksum_columns, reason, trace_id)
    VALUES (:id, :dataset, :source, :source_name, :fingerprint, :body_sha256, :state, :rows,
        :rejected, :first, :last, :columns, :reason, :trace_id)
    RETURNING created_at
"""
_KEEP_REJECTS = """
    INSERT INTO core.reject (batch_id, ordinal, row_number, column_name, expected, got)
    SELECT :batch, r.ordinality, r.row_number, r.column_name, r.expected, r.got
    FROM unnest(CAST(:rows AS bigint[]), CAST(:columns AS text[]), CAST(:expected AS text[]), CAST(:got AS text[]))
        WITH ORDINALITY AS r (row_number, column_name, expected, got, ordinality)
"""


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
                    "columns": json.dumps(columns_json(schema)),
                    "settings": json.dumps((settings or DatasetSettings()).as_dict()),
                },
            ).one_or_none()
            if row is None:
                existing = self._read(connection, name)
                if existing.schema != schema:
                    raise ServiceError("conflict", f"the dataset '{name}' exists with other columns")
                return existing, False
            dataset = _dataset(row)
            copying.shape(connection, dataset.id)
            journal.audit(connection, actor=actor, action="dataset.create", subject=f"dataset/{name}", details={})
            journal.announce(connection, "dataset.created", f"dataset/{name}", {})
            return dataset, True

    def dataset(self, name: str) -> Dataset:
        """Return the dataset."""
        with transaction(self._engine) as connection:
            return self._read(connection, name)

    def datasets(self, *, limit: int, after: str | None = None) -> list[Dataset]:
        """Return datasets by name."""
        with transaction(self._engine) as connection:
            found = connection.execute(
                sa.text(f'{_DATASET} AND name COLLATE "C" > :after ORDER BY name COLLATE "C" LIMIT :limit'),
                {"after": after or "", "limit": limit},
            )
            return [_dataset(row) for row in found]

    def delete(self, name: str, *, actor: str) -> None:
        """Drop the dataset's table and view; its record stays, marked, for the ledger."""
        with transaction(self._engine) as connection:
            dataset = self._read(connection, name, "FOR UPDATE")
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
            connection.execute(sa.text("DELETE FROM core.level WHERE dataset_id = :id"), {"id": dataset.id})
            journal.audit(connection, actor=actor, action="dataset.delete", subject=f"dataset/{name}", details={})
            journal.announce(connection, "dataset.deleted", f"dataset/{name}", {})

    def _read(self, connection: sa.Connection, name: str, lock: str = "") -> Dataset:
        row = connection.execute(sa.text(f"{_DATASET} AND name = :name {lock}"), {"name": name}).one_or_none()
        if row is None:
            raise ServiceError("unknown_dataset", f"there is no dataset '{name}'")
        return _dataset(row)

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
                if fingerprint is not None and (earlier := _find(connection, dataset, fingerprint)) is not None:
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
            earlier = _find(connection, dataset, intake.fingerprint)
            if earlier is not None:
                return earlier
            stored = self._enter(connection, dataset, intake, uuid.uuid4(), reason=reason)
            journal.announce(connection, "batch.refused", f"dataset/{dataset.name}", stored.batch.as_dict())
            return stored

    def _conclude(
        self, connection: sa.Connection, dataset: Dataset, intake: Intake, batch_id: uuid.UUID, span: tuple[int, int]
    ) -> Stored:
        """Write everything besides the rows that the batch leaves behind."""
        earlier = _find(connection, dataset, intake.fingerprint)
        if earlier is not None:
            raise _KnownError(earlier)
        last = span[1]
        stored = self._enter(connection, dataset, intake, batch_id, span=span)
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

    def _enter(
        self,
        connection: sa.Connection,
        dataset: Dataset,
        intake: Intake,
        batch_id: uuid.UUID,
        *,
        span: tuple[int, int] | None = None,
        reason: str | None = None,
    ) -> Stored:
        first, last = span or (None, None)
        state, rows = ("committed", span[1] - span[0] + 1) if span else ("refused", 0)
        values = {
            "id": batch_id,
            "dataset": dataset.id,
            "source": intake.source,
            "source_name": intake.source_name,
            "fingerprint": intake.fingerprint,
            "body_sha256": intake.body_sha256,
            "state": state,
            "rows": rows,
            "rejected": intake.rejected,
            "first": first,
            "last": last,
            "columns": len(dataset.schema.columns),
            "reason": reason,
            "trace_id": intake.trace_id,
        }
        created_at = connection.execute(sa.text(_ENTER), values).scalar_one()
        _keep_rejects(connection, batch_id, intake.rejects[:MAX_REJECTS_KEPT])
        batch = Batch(
            id=str(batch_id),
            dataset=dataset.name,
            source=intake.source,
            source_name=intake.source_name,
            state=state,
            rows=rows,
            rejected=intake.rejected,
            first_seq=first,
            last_seq=last,
            reason=reason,
            created_at=created_at,
        )
        return Stored(batch, intake.body_sha256, new=True)

    def _settle(self, dataset: Dataset, intake: Intake, sent: Stored, lost: TransientError) -> Stored:
        """Find out whether a transaction whose end was lost was committed: the ledger knows.

        The dataset's lock is taken first: a server process that still works on that COMMIT holds it.
        """
        for _ in range(_SETTLE_ATTEMPTS):
            try:
                with transaction(self._engine) as connection:
                    self._lock(connection, dataset)
                    found = _find(connection, dataset, intake.fingerprint)
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
            return _find(connection, dataset, fingerprint)

    def known(self, dataset: Dataset, fingerprints: Collection[str]) -> set[str]:
        """Return those of ``fingerprints`` that are in the ledger."""
        with transaction(self._engine) as connection:
            found = connection.execute(
                sa.text(
                    "SELECT fingerprint FROM core.batch WHERE dataset_id = :dataset AND fingerprint = ANY(:wanted)"
                ),
                {"dataset": dataset.id, "wanted": list(fingerprints)},
            )
            return set(found.scalars())

    def batches(
        self, dataset: Dataset, *, limit: int, after: str | None = None, state: str | None = None
    ) -> list[Batch]:
        """Return batches, newest first."""
        older = "" if state is None else " AND b.state = :state"
        if after is not None:
            self.batch(dataset, after)
            older += (
                " AND (b.created_at, b.id) < (SELECT created_at, id FROM core.batch WHERE id = CAST(:after AS uuid))"
            )
        with transaction(self._engine) as connection:
            found = connection.execute(
                sa.text(f"{_BATCH}{older} ORDER BY b.created_at DESC, b.id DESC LIMIT :limit"),
                {"dataset": dataset.id, "limit": limit, "after": after, "state": state},
            )
            return [_stored(row, new=False).batch for row in found]

    def batch(self, dataset: Dataset, batch_id: str) -> Batch:
        """Return one batch."""
        unknown = ServiceError("unknown_batch", f"the dataset '{dataset.name}' has no batch of that id")
        try:
            ident = uuid.UUID(batch_id)
        except ValueError:
            raise unknown from None
        with transaction(self._engine) as connection:
            row = connection.execute(
                sa.text(f"{_BATCH} AND b.id = :id"), {"dataset": dataset.id, "id": ident}
            ).one_or_none()
        if row is None:
            raise unknown
        return _stored(row, new=False).batch

    def batch_of_any(self, batch_id: str) -> Batch:
        """Return one batch of a dataset that exists."""
        unknown = ServiceError("unknown_batch", "no dataset has a batch of that id")
        try:
            ident = uuid.UUID(batch_id)
        except ValueError:
            raise unknown from None
        with transaction(self._engine) as connection:
            name = connection.execute(
                sa.text(
                    "SELECT d.name FROM core.batch b JOIN core.dataset d ON d.id = b.dataset_id"
                    " WHERE b.id = :id AND d.deleted_at IS NULL"
                ),
                {"id": ident},
            ).scalar_one_or_none()
            if name is None:
                raise unknown
            dataset = self._read(connection, name)
        return self.batch(dataset, batch_id)

    def rejects(self, batch: Batch, *, limit: int, after: int = 0) -> list[tuple[int, Problem]]:
        """Return the problems that were kept, in the order they were found."""
        with transaction(self._engine) as connection:
            found = connection.execute(
                sa.text(
                    "SELECT ordinal, row_number, column_name, expected, got FROM core.reject"
                    " WHERE batch_id = CAST(:batch AS uuid) AND ordinal > :after ORDER BY ordinal LIMIT :limit"
                ),
                {"batch": batch.id, "after": after, "limit": limit},
            )
            return [(row.ordinal, Problem(row.row_number, row.column_name, row.expected, row.got)) for row in found]


def _find(connection: sa.Connection, dataset: Dataset, fingerprint: str) -> Stored | None:
    row = connection.execute(
        sa.text(f"{_BATCH} AND b.fingerprint = :fingerprint"), {"dataset": dataset.id, "fingerprint": fingerprint}
    ).one_or_none()
    return None if row is None else _stored(row, new=False)


def _keep_rejects(connection: sa.Connection, batch_id: uuid.UUID, problems: Sequence[Problem]) -> None:
    if not problems:
        return
    columns = {
        "rows": [p.row for p in problems],
        "columns": [p.column for p in problems],
        "expected": [p.expected for p in problems],
        "got": [p.got for p in problems],
    }
    connection.execute(sa.text(_KEEP_REJECTS), {"batch": batch_id, **columns})


def columns_json(schema: Schema) -> list[dict[str, Any]]:
    """Return the schema as ``core.dataset.columns`` holds it: with the physical name of each column."""
    return [{**c.to_dict(), "physical": f"c{n}"} for n, c in enumerate(schema.columns, start=1)]


def schema_of(columns: list[dict[str, Any]]) -> Schema:
    """Return the schema that ``core.dataset.columns`` holds."""
    return Schema.from_dict({"columns": [{k: v for k, v in c.items() if k != "physical"} for c in columns]})


def read_dataset(connection: sa.Connection, dataset_id: int, *, lock: bool = False) -> Dataset:
    """Return the dataset as it is now; ``lock``: nobody else loads, changes or deletes it until the transaction ends.

    Raises:
        ServiceError: ``unknown_dataset``: it was deleted meanwhile.
    """
    held = " FOR NO KEY UPDATE" if lock else ""
    row = connection.execute(sa.text(f"{_DATASET} AND id = :id{held}"), {"id": dataset_id}).one_or_none()
    if row is None:
        raise ServiceError("unknown_dataset", "the dataset was deleted meanwhile")
    return _dataset(row)


def _dataset(row: Any) -> Dataset:
    return Dataset(
        row.id,
        row.name,
        schema_of(row.columns),
        row.last_seq,
        row.created_at,
        DatasetSettings.stored(row.settings),
        row.removed_rows,
        row.revision,
    )


def _stored(row: Any, *, new: bool) -> Stored:
    fields = dict(row._mapping)  # noqa: SLF001 - the public name of SQLAlchemy's row as a mapping
    body_sha256 = fields.pop("body_sha256")
    return Stored(Batch(**{**fields, "id": str(row.id)}), body_sha256, new=new)
