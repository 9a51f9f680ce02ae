"""Claiming a training request in Postgres: under a row lock that rivals skip, by the clock of the database."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres import journal
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.registry import CHAMPION
from trainyard.contracts.runs import MAX_ATTEMPTS, UNSUITED_SECONDS, Champion, Claim, Job, Lease, Original
from trainyard.messages import TrainingRequest

if TYPE_CHECKING:
    import sqlalchemy as sa

#: Errors and their texts are for people; a child's last words may be long.
MAX_ERROR_CHARS = 4_000

#: Requests that one claim settles on its way to one that it can take; the rest is left to the next claim.
_MOST_SETTLED = 20

# Said twice so that the planner sees the index of open requests behind it.
_CLAIMABLE = """r.state IN ('queued', 'running')
    AND (r.state = 'queued' OR coalesce(r.lease_until < clock_timestamp(), true))"""
#: Whether a request may be served by an instance, both as ``r`` and as ``:type`` and ``:instance``. The market of an
#: instance is in the ledger of launches; what is on no instance, or was launched by others, suits whoever refuses spot.
SUITED = """(CAST(:type AS text) IS NULL OR r.instance_types = '{}' OR :type = ANY(r.instance_types))
    AND (r.spot IS DISTINCT FROM false OR NOT EXISTS (
        SELECT FROM core.launch l WHERE l.instance_id = CAST(:instance AS text) AND l.market = 'spot'))"""
# The row that is locked is the row that is taken: a rival skips it and sees the next one. Names are looked up for it
# alone, behind the lock.
_TAKE = f"""
    WITH taken AS MATERIALIZED (
        SELECT r.* FROM core.training_request r WHERE {_CLAIMABLE} AND {SUITED} %s FOR NO KEY UPDATE SKIP LOCKED)
    SELECT CAST(r.id AS text) AS id, r.attempt, r.upto_seq, core.with_kinds(r.settings) AS settings, r.trace_id,
           r.cancel_requested, r.error, r.reproduces,
           m.id AS model_id, m.name AS model, m.label, m.task, m.deleted_at IS NOT NULL AS model_deleted,
           d.id AS dataset_id, d.name AS dataset
    FROM taken r JOIN core.model m ON m.id = r.model_id JOIN core.dataset d ON d.id = m.dataset_id"""  # noqa: S608
_AND_URGENT = f"""AND r.id = CAST(:named AS uuid) AND r.priority >= (
    SELECT r.priority FROM core.training_request r WHERE {_CLAIMABLE} AND {SUITED}
    ORDER BY r.priority DESC, r.created_at, r.id LIMIT 1)"""  # noqa: S608 - of constants
_NAMED_IF_URGENT = _TAKE % _AND_URGENT
_MOST_URGENT = _TAKE % "ORDER BY r.priority DESC, r.created_at, r.id LIMIT 1"
# Asked before the others, so it also tells the planner, until the transaction ends, to follow the index of urgency
# rather than to sort: without statistics (after a restore, in a sudden backlog) it would sort the whole queue.
_NAMED = f"""
    SELECT set_config('enable_sort', 'off', true), CAST(r.id AS text) AS id, r.state, ({SUITED}) AS suited,
           CAST(extract(epoch FROM r.lease_until - clock_timestamp()) AS float8) AS seconds_left
    FROM core.training_request r WHERE r.id = CAST(:named AS uuid)"""  # noqa: S608 - of constants


def claim(
    connection: sa.Connection,
    request_id: str,
    *,
    worker: str,
    instance_id: str | None,
    instance_type: str | None,
    lease_seconds: float,
) -> Claim:
    """Take the most urgent request that suits; without one, say what is true of the named one.

    When the named one waits for other machines its message is used up here either way, so a fresh one is posted.
    """
    place = {"type": instance_type, "instance": instance_id}
    if run(connection, _NAMED, named=request_id, **place).one_or_none() is None:
        return Claim("unknown")
    for _ in range(_MOST_SETTLED):
        row = run(connection, _NAMED_IF_URGENT, named=request_id, **place).one_or_none()
        row = row or run(connection, _MOST_URGENT, **place).one_or_none()
        if row is None:
            break
        _close_lost_run(connection, row.id)
        if not _settled(connection, row):
            by = {"worker": worker, "instance_id": instance_id, "instance_type": instance_type}
            job = _take(connection, row, by, lease_seconds=lease_seconds)
            if row.id != request_id:
                _post_if_unsuited(connection, run(connection, _NAMED, named=request_id, **place).one())
            return Claim("claimed", job, "running")
    return _named(connection, request_id, place)


def _named(connection: sa.Connection, request_id: str, place: dict[str, str | None]) -> Claim:
    """Return what is true of the request that the message names, which this worker could not have."""
    row = run(connection, _NAMED, named=request_id, **place).one()
    if row.state not in ("queued", "running"):
        return Claim("settled", state=row.state)
    if _post_if_unsuited(connection, row):
        return Claim("unsuited", state=row.state)
    # Held; or somebody has its row locked at this moment, and will have taken or settled it in the next.
    return Claim("held", state=row.state, seconds_left=max(0.0, row.seconds_left or 0.0))


def _post_if_unsuited(connection: sa.Connection, named: Any) -> bool:
    """Post a fresh message for the named request if it waits for other machines; return whether it does."""
    if named.state != "queued" or named.suited:
        return False
    journal.post(connection, "training", TrainingRequest(named.id), delay_seconds=UNSUITED_SECONDS)
    return True


def _settled(connection: sa.Connection, row: Any) -> bool:
    """End a request that must not be trained (any more); return whether it was one."""
    if row.model_deleted or row.cancel_requested:
        why = "the model was deleted" if row.model_deleted else "cancelled on request"
        _settle(connection, row.id, row.model, state="cancelled", error_class=None, why=why)
        return True
    if row.attempt >= MAX_ATTEMPTS:
        last = f"; the last one said: {row.error}" if row.error else ""
        why = f"{row.attempt} attempts ended without a result, the last without a word from its worker{last}"
        _settle(connection, row.id, row.model, state="failed", error_class="lost", why=why)
        return True
    return False


def _close_lost_run(connection: sa.Connection, request_id: str) -> None:
    run(
        connection,
        "UPDATE core.run SET state = 'lost', ended_at = clock_timestamp(), error_class = 'lost',"
        " error = 'its lease ran out' WHERE request_id = CAST(:id AS uuid) AND state = 'running'",
        id=request_id,
    )


def _settle(
    connection: sa.Connection, request_id: str, model: str, *, state: str, error_class: str | None, why: str
) -> None:
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


def _take(connection: sa.Connection, row: Any, place: dict[str, str | None], *, lease_seconds: float) -> Job:
    """Give the locked request to the worker: lease, fence, and a run at ``place``."""
    known = run(
        connection,
        "SELECT upto_seq, version FROM core.version WHERE model_id = :model_id AND request_id IS NOT NULL"
        " ORDER BY upto_seq DESC, version DESC LIMIT 1",
        model_id=row.model_id,
    ).one_or_none()
    taken = run(
        connection,
        "UPDATE core.training_request SET state = 'running', attempt = attempt + 1, fence = fence + 1,"
        " holder = :worker, lease_until = clock_timestamp() + make_interval(secs => :lease),"
        " started_at = coalesce(started_at, clock_timestamp()) WHERE id = CAST(:id AS uuid) RETURNING fence, attempt",
        id=row.id,
        worker=place["worker"],
        lease=lease_seconds,
    ).one()
    lease = Lease(row.id, str(uuid.uuid4()), taken.fence)
    known_seq = 0 if known is None else known.upto_seq
    run(
        connection,
        "INSERT INTO core.run (id, request_id, attempt, fence, worker, instance_id, instance_type, known_seq, progress)"
        " VALUES (CAST(:run AS uuid), CAST(:id AS uuid), :attempt, :fence, :worker, :instance_id, :instance_type,"
        ' :known_seq, \'{"stage": "claimed"}\')',
        run=lease.run_id,
        id=row.id,
        attempt=taken.attempt,
        fence=taken.fence,
        known_seq=known_seq,
        **place,
    )
    payload = {
        "request_id": row.id,
        "run_id": lease.run_id,
        "attempt": taken.attempt,
        "worker": place["worker"],
    }
    journal.announce(connection, "run.started", f"model/{row.model}", payload)
    original, upto_seq = _original(connection, row)
    return Job(
        lease=lease,
        attempt=taken.attempt,
        model_id=row.model_id,
        model=row.model,
        dataset_id=row.dataset_id,
        dataset=row.dataset,
        label=row.label,
        task=row.task,
        upto_seq=upto_seq,
        settings=row.settings,
        champion=champion(connection, row.model_id),
        known_seq=known_seq,
        known_version=0 if known is None else known.version,
        trace_id=row.trace_id,
        reproduces=original,
    )


def _original(connection: sa.Connection, row: Any) -> tuple[Original | None, int]:
    """Return the version that a request fits again, None for a training, and up to where its rows go."""
    if row.reproduces is None:
        return None, row.upto_seq
    found = run(
        connection,
        "SELECT v.version, v.artifact_key, v.sha256, v.not_reproducible, u.environment, v.upto_seq FROM core.version v"
        " JOIN core.run u ON u.id = v.run_id WHERE v.model_id = :model_id AND v.version = :version",
        model_id=row.model_id,
        version=row.reproduces,
    ).one()
    original = Original(found.version, found.artifact_key, found.sha256, found.not_reproducible, found.environment)
    return original, found.upto_seq


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
