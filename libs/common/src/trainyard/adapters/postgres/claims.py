"""Claiming a training request in Postgres: under its row lock, by the clock of the database."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres import journal
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.registry import CHAMPION
from trainyard.contracts.runs import MAX_ATTEMPTS, Champion, Claim, Job, Lease

if TYPE_CHECKING:
    import sqlalchemy as sa

#: Errors and their texts are for people; a child's last words may be long.
MAX_ERROR_CHARS = 4_000

_REQUEST = """
    SELECT r.state, r.attempt, r.fence, r.upto_seq, r.settings, r.trace_id, r.cancel_requested, r.error,
           r.state = 'running' AND coalesce(r.lease_until >= clock_timestamp(), false) AS live,
           CAST(extract(epoch FROM r.lease_until - clock_timestamp()) AS float8) AS seconds_left,
           m.id AS model_id, m.name AS model, m.label, m.task, m.deleted_at IS NOT NULL AS model_deleted,
           d.id AS dataset_id, d.name AS dataset
    FROM core.training_request r JOIN core.model m ON m.id = r.model_id JOIN core.dataset d ON d.id = m.dataset_id
    WHERE r.id = CAST(:id AS uuid) FOR NO KEY UPDATE OF r"""


def claim(
    connection: sa.Connection, request_id: str, *, worker: str, instance_id: str | None, lease_seconds: float
) -> Claim:
    """Look at the request under its row lock, and take it if it can be taken."""
    row = run(connection, _REQUEST, id=request_id).one_or_none()
    if row is None:
        return Claim("unknown")
    if row.state not in ("queued", "running"):
        return Claim("settled", state=row.state)
    if row.live:
        return Claim("held", state=row.state, seconds_left=max(0.0, row.seconds_left))
    _close_lost_run(connection, request_id)
    if row.model_deleted or row.cancel_requested:
        why = "the model was deleted" if row.model_deleted else "cancelled on request"
        return _settle(connection, request_id, row.model, state="cancelled", error_class=None, why=why)
    if row.attempt >= MAX_ATTEMPTS:
        last = f"; the last one said: {row.error}" if row.error else ""
        why = f"{row.attempt} attempts ended without a result, the last without a word from its worker{last}"
        return _settle(connection, request_id, row.model, state="failed", error_class="lost", why=why)
    lease = _take(connection, request_id, row, worker=worker, instance_id=instance_id, lease_seconds=lease_seconds)
    return Claim("claimed", _job(connection, lease, row), "running")


def _close_lost_run(connection: sa.Connection, request_id: str) -> None:
    run(
        connection,
        "UPDATE core.run SET state = 'lost', ended_at = clock_timestamp(), error_class = 'lost',"
        " error = 'its lease ran out' WHERE request_id = CAST(:id AS uuid) AND state = 'running'",
        id=request_id,
    )


def _settle(
    connection: sa.Connection, request_id: str, model: str, *, state: str, error_class: str | None, why: str
) -> Claim:
    """End a request that nobody holds."""
    run(
        connection,
        "UPDATE core.training_request SET state = :state, error_class = :error_class, error = :error,"
        " lease_until = NULL, holder = NULL, finished_at = clock_timestamp() WHERE id = CAST(:id AS uuid)",
        id=request_id,
        state=state,
        error_class=error_class,
        error=why[:MAX_ERROR_CHARS],
    )
    journal.announce(connection, f"request.{state}", f"model/{model}", {"request_id": request_id, "error": why[:500]})
    return Claim("settled", state=state)


def _take(
    connection: sa.Connection,
    request_id: str,
    row: Any,
    *,
    worker: str,
    instance_id: str | None,
    lease_seconds: float,
) -> Lease:
    taken = run(
        connection,
        "UPDATE core.training_request SET state = 'running', attempt = attempt + 1, fence = fence + 1,"
        " holder = :worker, lease_until = clock_timestamp() + make_interval(secs => :lease),"
        " started_at = coalesce(started_at, clock_timestamp())"
        " WHERE id = CAST(:id AS uuid)"
        " AND (state = 'queued' OR (state = 'running' AND coalesce(lease_until < clock_timestamp(), true)))"
        " RETURNING fence, attempt",
        id=request_id,
        worker=worker,
        lease=lease_seconds,
    ).one()
    lease = Lease(request_id, str(uuid.uuid4()), taken.fence)
    run(
        connection,
        "INSERT INTO core.run (id, request_id, attempt, fence, worker, instance_id, progress)"
        " VALUES (CAST(:run AS uuid), CAST(:id AS uuid), :attempt, :fence, :worker, :instance_id,"
        ' \'{"stage": "claimed"}\')',
        run=lease.run_id,
        id=request_id,
        attempt=taken.attempt,
        fence=taken.fence,
        worker=worker,
        instance_id=instance_id,
    )
    payload = {"request_id": request_id, "run_id": lease.run_id, "attempt": taken.attempt, "worker": worker}
    journal.announce(connection, "run.started", f"model/{row.model}", payload)
    return lease


def _job(connection: sa.Connection, lease: Lease, row: Any) -> Job:
    known = run(
        connection,
        "SELECT upto_seq, version FROM core.version WHERE model_id = :model_id"
        " ORDER BY upto_seq DESC, version DESC LIMIT 1",
        model_id=row.model_id,
    ).one_or_none()
    return Job(
        lease=lease,
        attempt=row.attempt + 1,
        model_id=row.model_id,
        model=row.model,
        dataset_id=row.dataset_id,
        dataset=row.dataset,
        label=row.label,
        task=row.task,
        upto_seq=row.upto_seq,
        settings=row.settings,
        champion=champion(connection, row.model_id),
        known_seq=0 if known is None else known.upto_seq,
        known_version=0 if known is None else known.version,
        trace_id=row.trace_id,
    )


def champion(connection: sa.Connection, model_id: int) -> Champion | None:
    """Return where the model's champion points now."""
    row = run(
        connection,
        "SELECT a.version, a.seq, v.artifact_key, v.sha256 FROM core.alias a JOIN core.version v"
        " ON v.model_id = a.model_id AND v.version = a.version WHERE a.model_id = :model_id AND a.name = :name",
        model_id=model_id,
        name=CHAMPION,
    ).one_or_none()
    return None if row is None else Champion(row.version, row.seq, row.artifact_key, row.sha256)
