"""The tables ``core.batch`` and ``core.reject``: which batches came, and what was wrong with their rows."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trainyard.contracts.warehouse import MAX_REJECTS_KEPT, Batch, Stored, Taken
from trainyard.errors import Problem, ServiceError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from trainyard.contracts.warehouse import Dataset, Intake

_BATCH = """
    SELECT b.id, d.name AS dataset, b.source, b.source_name, b.state, b.row_count AS rows,
        b.rejected_count AS rejected, b.first_seq, b.last_seq, b.reason, b.created_at, b.body_sha256
    FROM core.batch b JOIN core.dataset d ON d.id = b.dataset_id
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


def enter(
    connection: sa.Connection,
    dataset: Dataset,
    intake: Intake,
    batch_id: uuid.UUID,
    *,
    span: tuple[int, int] | None = None,
    reason: str | None = None,
) -> Stored:
    """Enter a batch whose rows have the numbers of ``span``, first and last, or one that is refused for a reason."""
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


def find(connection: sa.Connection, dataset: Dataset, fingerprint: str) -> Stored | None:
    """Return the batch with that fingerprint, or None."""
    row = connection.execute(
        sa.text(f"{_BATCH} WHERE b.dataset_id = :dataset AND b.fingerprint = :fingerprint"),
        {"dataset": dataset.id, "fingerprint": fingerprint},
    ).one_or_none()
    if row is None:
        return None
    return Stored(_batch(row), row.body_sha256, new=False)


def known(connection: sa.Connection, dataset: Dataset, fingerprints: Collection[str]) -> set[str]:
    """Return those of ``fingerprints`` that are entered."""
    found = connection.execute(
        sa.text("SELECT fingerprint FROM core.batch WHERE dataset_id = :dataset AND fingerprint = ANY(:wanted)"),
        {"dataset": dataset.id, "wanted": list(fingerprints)},
    )
    return set(found.scalars())


def listed(
    connection: sa.Connection, dataset: Dataset, *, limit: int, after: str | None, state: str | None
) -> list[Batch]:
    """Return at most ``limit`` batches that are older than ``after``, newest first."""
    older = "" if state is None else " AND b.state = :state"
    if after is not None:
        one(connection, after, dataset)
        older += " AND (b.created_at, b.id) < (SELECT created_at, id FROM core.batch WHERE id = CAST(:after AS uuid))"
    found = connection.execute(
        sa.text(f"{_BATCH} WHERE b.dataset_id = :dataset{older} ORDER BY b.created_at DESC, b.id DESC LIMIT :limit"),
        {"dataset": dataset.id, "limit": limit, "after": after, "state": state},
    )
    return [_batch(row) for row in found]


def one(connection: sa.Connection, batch_id: str, dataset: Dataset | None = None) -> Batch:
    """Return one batch, of this dataset or of any that exists.

    Raises:
        ServiceError: ``unknown_batch``.
    """
    where = "no dataset has a batch" if dataset is None else f"the dataset '{dataset.name}' has no batch"
    unknown = ServiceError("unknown_batch", f"{where} of that id")
    try:
        ident = uuid.UUID(batch_id)
    except ValueError:
        raise unknown from None
    owner = "d.deleted_at IS NULL" if dataset is None else "b.dataset_id = :dataset"
    row = connection.execute(
        sa.text(f"{_BATCH} WHERE b.id = :id AND {owner}"),
        {"id": ident} | ({} if dataset is None else {"dataset": dataset.id}),
    ).one_or_none()
    if row is None:
        raise unknown
    return _batch(row)


def rejects(connection: sa.Connection, batch: Batch, *, limit: int, after: int) -> list[tuple[int, Problem]]:
    """Return at most ``limit`` of the problems that were kept, in the order they were found, with their ordinals."""
    found = connection.execute(
        sa.text(
            "SELECT ordinal, row_number, column_name, expected, got FROM core.reject"
            " WHERE batch_id = CAST(:batch AS uuid) AND ordinal > :after ORDER BY ordinal LIMIT :limit"
        ),
        {"batch": batch.id, "after": after, "limit": limit},
    )
    return [(row.ordinal, Problem(row.row_number, row.column_name, row.expected, row.got)) for row in found]


def taken(connection: sa.Connection) -> list[Taken]:
    """Return what has come in so far, by source and state."""
    found = connection.execute(
        sa.text(
            "SELECT source, state, count(*), CAST(sum(row_count) AS bigint), CAST(sum(rejected_count) AS bigint)"
            " FROM core.batch GROUP BY source, state ORDER BY source, state"
        )
    )
    return [Taken(*row) for row in found]


def _batch(row: Any) -> Batch:
    fields = dict(row._mapping)  # noqa: SLF001 - the public name of SQLAlchemy's row as a mapping
    del fields["body_sha256"]
    return Batch(**{**fields, "id": str(row.id)})
