"""Pull sources in Postgres: ``core.source``."""

from __future__ import annotations

import json
import uuid
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres import idempotency, journal
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.sql import as_json, run
from trainyard.contracts.sources import MAX_ERROR_CHARS, Claim, LastPull, PullSource, Sources
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.sources import Draft, Outcome
    from trainyard.contracts.warehouse import Dataset

_COLUMNS = """
    s.id, d.name AS dataset, s.name, s.kind, s.description, s.schedule, s.run_id, s.cursor, s.plan, s.asked, s.answered,
    CASE WHEN s.lease_until > clock_timestamp() THEN coalesce(s.pulling_rows, 0) END AS pulling_rows,
    s.last_at, s.last_rows, s.last_batch, s.last_error, s.next_at, s.created_at
"""
_FROM = " FROM core.source s JOIN core.dataset d ON d.id = s.dataset_id"
_LIVE = "SELECT 1 FROM core.dataset WHERE id = :dataset AND deleted_at IS NULL FOR KEY SHARE"
#: What was pending belongs to what was read before; whoever pulls that just now loses the source by its fence.
_PUT = """
    INSERT INTO core.source AS s (dataset_id, name, kind, description, schedule, sequence, run_id, next_at)
    VALUES (:dataset, :name, :kind, CAST(:description AS jsonb), CAST(:schedule AS jsonb), :sequence, :run_id, :next_at)
    ON CONFLICT (dataset_id, name) DO UPDATE SET kind = excluded.kind, description = excluded.description,
        schedule = excluded.schedule, next_at = excluded.next_at, sequence = excluded.sequence, fence = s.fence + 1,
        lease_until = NULL, pulling_rows = NULL,
        run_id = CASE WHEN s.sequence = excluded.sequence THEN s.run_id ELSE excluded.run_id END,
        cursor = CASE WHEN s.sequence = excluded.sequence THEN s.cursor END,
        plan = CASE WHEN s.sequence = excluded.sequence THEN s.plan END
    RETURNING s.fence = 0 AS made
"""
_CLAIM = f"""
    WITH due AS (
        SELECT s.id {_FROM} WHERE d.deleted_at IS NULL AND (s.asked > s.answered OR s.next_at <= clock_timestamp())
            AND (s.lease_until IS NULL OR s.lease_until < clock_timestamp())
        ORDER BY s.asked > s.answered DESC, s.next_at, s.id LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED)
    UPDATE core.source s SET fence = s.fence + 1, answering = s.asked, pulling_rows = 0,
        lease_until = clock_timestamp() + make_interval(secs => :lease)
    FROM due, core.dataset d WHERE s.id = due.id AND d.id = s.dataset_id
    RETURNING {_COLUMNS}, s.fence, clock_timestamp() AS now
"""  # noqa: S608 - constants of this module
_HELD = " WHERE id = :id AND fence = :fence"


class PostgresSources(Sources):
    """``core.source`` of the engine's database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def put(self, dataset: Dataset, name: str, draft: Draft, *, actor: str) -> tuple[PullSource, bool]:
        """Insert it, or write it anew."""
        with transaction(self._engine) as connection:
            if run(connection, _LIVE, dataset=dataset.id).one_or_none() is None:
                raise ServiceError("unknown_dataset", f"the dataset '{dataset.name}' was deleted meanwhile")
            made: bool = run(
                connection,
                _PUT,
                dataset=dataset.id,
                name=name,
                kind=draft.kind,
                description=as_json(draft.description),
                schedule=None if draft.schedule is None else as_json(draft.schedule),
                sequence=draft.sequence,
                run_id=uuid.uuid4(),
                next_at=draft.next_at,
            ).scalar_one()
            source = self._read(connection, dataset, name)
            _journal(connection, source, "source.create" if made else "source.change", actor)
            return source, made

    def source(self, dataset: Dataset, name: str) -> PullSource:
        """Return one source."""
        with transaction(self._engine) as connection:
            return self._read(connection, dataset, name)

    def sources(self, dataset: Dataset, *, limit: int, after: str | None = None) -> list[PullSource]:
        """Return sources by name."""
        statement = (
            f'SELECT {_COLUMNS}{_FROM} WHERE s.dataset_id = :dataset AND s.name COLLATE "C" > :after'
            ' ORDER BY s.name COLLATE "C" LIMIT :limit'
        )
        with transaction(self._engine) as connection:
            return [
                _source(row) for row in run(connection, statement, dataset=dataset.id, after=after or "", limit=limit)
            ]

    def delete(self, dataset: Dataset, name: str, *, actor: str) -> None:
        """Delete the row; a worker that pulls it finds that out by its fence."""
        with transaction(self._engine) as connection:
            source = self._read(connection, dataset, name)
            run(connection, "DELETE FROM core.source WHERE id = :id", id=source.id)
            _journal(connection, source, "source.delete", actor)

    def ask(self, dataset: Dataset, name: str, *, actor: str, once: Repeatable | None) -> dict[str, Any]:
        """Count the wish and wake whoever listens."""
        with transaction(self._engine) as connection:
            earlier = None if once is None else idempotency.stored_answer(connection, once)
            if earlier is not None:
                stored: dict[str, Any] = json.loads(earlier[1])
                return stored
            found = run(
                connection,
                "UPDATE core.source SET asked = asked + 1 WHERE dataset_id = :dataset AND name = :name RETURNING id",
                dataset=dataset.id,
                name=name,
            ).one_or_none()
            if found is None:
                raise _unknown(dataset, name)
            source = self._read(connection, dataset, name)
            _journal(connection, source, "source.pull", actor)
            answer = source.as_dict()
            if once is not None:
                idempotency.store_answer(connection, once, 202, json.dumps(answer))
            return answer

    def claim(self, *, lease_seconds: float) -> Claim | None:
        """Take the most urgent source: asked for before due by schedule."""
        with transaction(self._engine) as connection:
            row = run(connection, _CLAIM, lease=lease_seconds).one_or_none()
        return None if row is None else Claim(_source(row), row.fence, row.now)

    def renew(self, claim: Claim, *, lease_seconds: float) -> bool:
        """Move the end of the lease."""
        return self._write(
            claim, "lease_until = clock_timestamp() + make_interval(secs => :lease)", lease=lease_seconds
        )

    def plan(self, claim: Claim, plan: Mapping[str, Any]) -> bool:
        """Write the plan."""
        return self._write(claim, "plan = CAST(:plan AS jsonb)", plan=as_json(plan))

    def advance(self, claim: Claim, cursor: Mapping[str, Any], *, rows: int) -> bool:
        """Move the cursor."""
        change = "cursor = CAST(:cursor AS jsonb), plan = NULL, pulling_rows = coalesce(pulling_rows, 0) + :rows"
        return self._write(claim, change, cursor=as_json(cursor), rows=rows)

    def finish(self, claim: Claim, outcome: Outcome, *, next_at: datetime | None) -> bool:
        """Give it back; a wish that came meanwhile stays open."""
        change = (
            "lease_until = NULL, pulling_rows = NULL, answered = answering, next_at = :next_at,"
            " last_at = clock_timestamp(), last_rows = :rows, last_batch = CAST(:batch AS uuid), last_error = :error"
        )
        error = None if outcome.error is None else outcome.error[:MAX_ERROR_CHARS].replace("\0", "?")
        return self._write(
            claim, change, next_at=next_at, rows=outcome.rows, batch=outcome.batch_id, error=error, finished=True
        )

    def _write(self, claim: Claim, change: str, *, finished: bool = False, **values: Any) -> bool:
        with transaction(self._engine) as connection:
            statement = f"UPDATE core.source SET {change}{_HELD}"  # noqa: S608 - constants of this module
            written = run(connection, statement, id=claim.source.id, fence=claim.fence, **values).rowcount == 1
            if written and finished:
                subject = f"dataset/{claim.source.dataset}"
                payload = {"source": claim.source.name, "rows": values["rows"], "error": values["error"]}
                journal.announce(connection, "source.pulled", subject, payload)
        return written

    def _read(self, connection: sa.Connection, dataset: Dataset, name: str) -> PullSource:
        statement = f"SELECT {_COLUMNS}{_FROM} WHERE s.dataset_id = :dataset AND s.name = :name"
        row = run(connection, statement, dataset=dataset.id, name=name).one_or_none()
        if row is None:
            raise _unknown(dataset, name)
        return _source(row)


def _journal(connection: sa.Connection, source: PullSource, action: str, actor: str) -> None:
    subject = f"dataset/{source.dataset}"
    journal.audit(connection, actor=actor, action=action, subject=subject, details={"source": source.name})
    journal.announce(connection, action, subject, {"source": source.name})


def _unknown(dataset: Dataset, name: str) -> ServiceError:
    return ServiceError("unknown_source", f"the dataset '{dataset.name}' has no source '{name}'")


def _source(row: Any) -> PullSource:
    last = None
    if row.last_at is not None:
        batch_id = None if row.last_batch is None else str(row.last_batch)
        last = LastPull(row.last_at, row.last_rows, batch_id, row.last_error)
    stored = {field.name: getattr(row, field.name) for field in fields(PullSource) if field.name != "last"}
    return PullSource(**{**stored, "run_id": str(row.run_id), "last": last})
