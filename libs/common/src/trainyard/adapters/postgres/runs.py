"""Claims, leases and publication of training requests in Postgres. Time is the database's clock, never a client's."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres import journal
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.registry import PostgresVersions
from trainyard.adapters.postgres.sql import as_json, run
from trainyard.contracts.registry import CHAMPION, PREVIOUS
from trainyard.contracts.runs import (
    MAX_ATTEMPTS,
    Champion,
    Claim,
    Job,
    Lease,
    LeaseLostError,
    Published,
    Runs,
    promotion,
)
from trainyard.crashpoints import crashpoint
from trainyard.messages import TrainingRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from trainyard.contracts.runs import NewVersion

#: Errors and their texts are for people; a child's last words may be long.
_MAX_ERROR_CHARS = 4_000

_REQUEST = """
    SELECT r.state, r.attempt, r.fence, r.upto_seq, r.settings, r.trace_id, r.cancel_requested, r.error,
           r.state = 'running' AND coalesce(r.lease_until >= clock_timestamp(), false) AS live,
           CAST(extract(epoch FROM r.lease_until - clock_timestamp()) AS float8) AS seconds_left,
           m.id AS model_id, m.name AS model, m.label, m.task, m.deleted_at IS NOT NULL AS model_deleted,
           d.id AS dataset_id, d.name AS dataset
    FROM core.training_request r JOIN core.model m ON m.id = r.model_id JOIN core.dataset d ON d.id = m.dataset_id
    WHERE r.id = CAST(:id AS uuid) FOR NO KEY UPDATE OF r"""


class PostgresRuns(Runs):
    """``core.training_request``, ``core.run``, ``core.trial``, ``core.version`` and the champion's alias."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    # --- claim ---

    def claim(self, request_id: str, *, worker: str, instance_id: str | None, lease_seconds: float) -> Claim:
        """Look at the request under its row lock, and take it if it can be taken."""
        with transaction(self._engine) as connection:
            row = run(connection, _REQUEST, id=request_id).one_or_none()
            if row is None:
                return Claim("unknown")
            if row.state not in ("queued", "running"):
                return Claim("settled", state=row.state)
            if row.live:
                return Claim("held", state=row.state, seconds_left=max(0.0, row.seconds_left))
            self._close_lost_run(connection, request_id)
            if row.model_deleted or row.cancel_requested:
                why = "the model was deleted" if row.model_deleted else "cancelled on request"
                return self._settle(connection, request_id, row.model, state="cancelled", error_class=None, why=why)
            if row.attempt >= MAX_ATTEMPTS:
                last = f"; the last one said: {row.error}" if row.error else ""
                why = f"{row.attempt} attempts ended without a result, the last without a word from its worker{last}"
                return self._settle(connection, request_id, row.model, state="failed", error_class="lost", why=why)
            lease = self._take(
                connection, request_id, row, worker=worker, instance_id=instance_id, lease_seconds=lease_seconds
            )
            return Claim("claimed", self._job(connection, lease, row), "running")

    def _close_lost_run(self, connection: sa.Connection, request_id: str) -> None:
        run(
            connection,
            "UPDATE core.run SET state = 'lost', ended_at = clock_timestamp(), error_class = 'lost',"
            " error = 'its lease ran out' WHERE request_id = CAST(:id AS uuid) AND state = 'running'",
            id=request_id,
        )

    def _settle(
        self, connection: sa.Connection, request_id: str, model: str, *, state: str, error_class: str | None, why: str
    ) -> Claim:
        """End a request that nobody holds."""
        run(
            connection,
            "UPDATE core.training_request SET state = :state, error_class = :error_class, error = :error,"
            " lease_until = NULL, holder = NULL, finished_at = clock_timestamp() WHERE id = CAST(:id AS uuid)",
            id=request_id,
            state=state,
            error_class=error_class,
            error=why[:_MAX_ERROR_CHARS],
        )
        journal.announce(
            connection, f"request.{state}", f"model/{model}", {"request_id": request_id, "error": why[:500]}
        )
        return Claim("settled", state=state)

    def _take(
        self,
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

    def _job(self, connection: sa.Connection, lease: Lease, row: Any) -> Job:
        known = run(
            connection,
            "SELECT coalesce(max(upto_seq), 0) FROM core.version WHERE model_id = :model_id",
            model_id=row.model_id,
        ).scalar_one()
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
            champion=_champion(connection, row.model_id),
            known_seq=known,
            trace_id=row.trace_id,
        )

    # --- while it runs, and its ends without a version ---

    def beat(self, lease: Lease, *, lease_seconds: float, progress: Mapping[str, Any] | None = None) -> bool:
        """Move ``lease_until`` if the fence still is ours."""
        with transaction(self._engine) as connection:
            cancel = run(
                connection,
                "UPDATE core.training_request SET lease_until = clock_timestamp() + make_interval(secs => :lease)"
                " WHERE id = CAST(:id AS uuid) AND fence = :fence AND state = 'running' RETURNING cancel_requested",
                id=lease.request_id,
                fence=lease.fence,
                lease=lease_seconds,
            ).scalar_one_or_none()
            if cancel is None:
                raise _lost(lease)
            if progress is not None:
                run(
                    connection,
                    "UPDATE core.run SET progress = CAST(:progress AS jsonb) WHERE id = CAST(:run AS uuid)",
                    run=lease.run_id,
                    progress=as_json(progress),
                )
            return bool(cancel)

    def release(self, lease: Lease, *, reason: str) -> None:
        """Queue it again, uncounted, and post a fresh message."""
        with transaction(self._engine) as connection:
            self._leave(connection, lease, "queued", None, None, uncounted=True)
            self._end_run(connection, lease, "released", None, reason)
            journal.post(connection, "training", TrainingRequest(lease.request_id))

    def retry(self, lease: Lease, *, error_class: str, error: str) -> None:
        """Queue it again after a failure, and post a fresh message."""
        with transaction(self._engine) as connection:
            self._leave(connection, lease, "queued", error_class, error)
            self._end_run(connection, lease, "failed", error_class, error)
            journal.post(connection, "training", TrainingRequest(lease.request_id))

    def fail(self, lease: Lease, *, error_class: str, error: str) -> None:
        """End it as failed."""
        with transaction(self._engine) as connection:
            self._leave(connection, lease, "failed", error_class, error)
            self._end_run(connection, lease, "failed", error_class, error)

    def cancel(self, lease: Lease) -> None:
        """End it as cancelled."""
        with transaction(self._engine) as connection:
            self._leave(connection, lease, "cancelled", None, "cancelled on request")
            self._end_run(connection, lease, "cancelled", None, "cancelled on request")

    def _leave(
        self,
        connection: sa.Connection,
        lease: Lease,
        state: str,
        error_class: str | None,
        error: str | None,
        *,
        uncounted: bool = False,
    ) -> None:
        """Give the request another state if the fence still is ours."""
        left = run(
            connection,
            "UPDATE core.training_request SET state = :state, lease_until = NULL, holder = NULL,"
            " attempt = attempt - :uncounted, error_class = :error_class, error = :error,"
            " finished_at = CASE WHEN :state <> 'queued' THEN clock_timestamp() END"
            " WHERE id = CAST(:id AS uuid) AND fence = :fence AND state = 'running'",
            id=lease.request_id,
            fence=lease.fence,
            state=state,
            uncounted=int(uncounted),
            error_class=error_class,
            error=None if error is None else error[:_MAX_ERROR_CHARS],
        )
        if not left.rowcount:
            raise _lost(lease)

    def _end_run(
        self, connection: sa.Connection, lease: Lease, state: str, error_class: str | None, error: str | None
    ) -> None:
        model = run(
            connection,
            "UPDATE core.run u SET state = :state, error_class = :error_class, error = :error,"
            " ended_at = clock_timestamp() FROM core.training_request r JOIN core.model m ON m.id = r.model_id"
            " WHERE u.id = CAST(:run AS uuid) AND r.id = u.request_id RETURNING m.name",
            run=lease.run_id,
            state=state,
            error_class=error_class,
            error=None if error is None else error[:_MAX_ERROR_CHARS],
        ).scalar_one()
        payload = {"request_id": lease.request_id, "run_id": lease.run_id, "error_class": error_class}
        journal.announce(connection, f"run.{state}", f"model/{model}", payload)

    # --- publication ---

    def publish(self, lease: Lease, version: NewVersion, *, compared_with: Champion | None) -> Published:
        """Version, request, run, trials and promotion, all or nothing."""
        with transaction(self._engine) as connection:
            model = run(
                connection,
                # The lock that every move of an alias takes: version numbers and promotions follow one another.
                "SELECT m.id, m.name, m.deleted_at FROM core.model m JOIN core.training_request r"
                " ON r.model_id = m.id WHERE r.id = CAST(:id AS uuid) FOR NO KEY UPDATE OF m",
                id=lease.request_id,
            ).one_or_none()
            if model is None:
                raise _lost(lease)
            self._leave(connection, lease, "done", None, None)
            current = _champion(connection, model.id)
            promoted, words = promotion(version, compared_with, current, deleted=model.deleted_at is not None)
            number = self._insert_version(connection, lease, model.id, version, promoted=promoted, words=words)
            self._insert_trials(connection, lease, version)
            self._end_run(connection, lease, "done", None, None)
            crashpoint("K26")
            subject = f"model/{model.name}"
            payload = {"version": number, "request_id": lease.request_id, "promoted": promoted, "words": words}
            journal.announce(connection, "version.published", subject, payload)
            journal.audit(connection, actor="trainer", action="version.publish", subject=subject, details=payload)
            if promoted:
                self._promote(connection, model, number, current, words)
            crashpoint("K27")
        crashpoint("K28")
        return Published(number, lease.run_id, promoted, words)

    def _insert_version(
        self, connection: sa.Connection, lease: Lease, model_id: int, version: NewVersion, *, promoted: bool, words: str
    ) -> int:
        number = run(
            connection,
            "INSERT INTO core.version (model_id, version, request_id, run_id, fence, artifact_key, sha256, size_bytes,"
            " upto_seq, snapshot_rows, snapshot_hash, holdout, metrics, gate, passed)"
            " SELECT :model_id, 1 + coalesce((SELECT max(version) FROM core.version WHERE model_id = :model_id), 0),"
            " r.id, CAST(:run AS uuid), :fence, :artifact_key, :sha256, :size_bytes, r.upto_seq, :snapshot_rows,"
            " :snapshot_hash, CAST(:holdout AS jsonb), CAST(:metrics AS jsonb), CAST(:gate AS jsonb), :passed"
            " FROM core.training_request r WHERE r.id = CAST(:id AS uuid)"
            " ON CONFLICT (request_id) DO NOTHING RETURNING version",
            model_id=model_id,
            run=lease.run_id,
            id=lease.request_id,
            fence=lease.fence,
            artifact_key=version.artifact_key,
            sha256=version.sha256,
            size_bytes=version.size_bytes,
            snapshot_rows=version.snapshot_rows,
            snapshot_hash=version.snapshot_hash,
            holdout=as_json(version.holdout),
            metrics=as_json(version.metrics),
            gate=as_json({**version.gate, "promoted": promoted, "promotion": words}),
            passed=version.passed,
        ).scalar_one_or_none()
        if number is None:  # cannot be while request and version end in one transaction; a zombie all the same
            raise _lost(lease)
        return int(number)

    def _insert_trials(self, connection: sa.Connection, lease: Lease, version: NewVersion) -> None:
        for trial in version.trials:
            values = asdict(trial)
            run(
                connection,
                "INSERT INTO core.trial (run_id, number, family, params, metrics, seconds, chosen) VALUES"
                " (CAST(:run AS uuid), :number, :family, CAST(:params AS jsonb), CAST(:metrics AS jsonb), :seconds,"
                " :chosen)",
                run=lease.run_id,
                **{**values, "params": as_json(trial.params), "metrics": as_json(trial.metrics)},
            )
        run(
            connection,
            "UPDATE core.run SET snapshot_rows = :rows, progress = CAST(:progress AS jsonb)"
            " WHERE id = CAST(:run AS uuid)",
            run=lease.run_id,
            rows=version.snapshot_rows,
            progress=json.dumps({"stage": "published"}),
        )

    def _promote(
        self, connection: sa.Connection, model: Any, number: int, current: Champion | None, words: str
    ) -> None:
        """Move the champion; the one before it becomes 'previous'."""
        versions = PostgresVersions(connection)
        moves = [(CHAMPION, number)] if current is None else [(PREVIOUS, current.version), (CHAMPION, number)]
        for name, target in moves:
            before = versions.alias(model.id, name)
            moved = versions.point(model.id, name, target)
            previous = None if before is None else before.version
            versions.deployed(
                model.id, moved, previous_version=previous, removed=False, actor="trainer", reason=words[:500]
            )
            payload = {"alias": name, "version": target, "previous_version": previous, "seq": moved.seq}
            journal.announce(connection, "alias.moved", f"model/{model.name}", payload)
            journal.audit(
                connection,
                actor="trainer",
                action="alias.move",
                subject=f"model/{model.name}",
                details={**payload, "reason": words[:500]},
            )

    def published(self, request_id: str) -> Published | None:
        """Read the version of the request."""
        with transaction(self._engine) as connection:
            row = run(
                connection,
                "SELECT version, run_id::text, gate FROM core.version WHERE request_id = CAST(:id AS uuid)",
                id=request_id,
            ).one_or_none()
        if row is None:
            return None
        return Published(row.version, row.run_id, bool(row.gate["promoted"]), row.gate["promotion"])

    def open_requests(self) -> int:
        """Count."""
        with transaction(self._engine) as connection:
            found = run(connection, "SELECT count(*) FROM core.training_request WHERE state IN ('queued', 'running')")
            return int(found.scalar_one())


def _lost(lease: Lease) -> LeaseLostError:
    return LeaseLostError(f"request {lease.request_id} is not held under fence {lease.fence} any more")


def _champion(connection: sa.Connection, model_id: int) -> Champion | None:
    row = run(
        connection,
        "SELECT a.version, a.seq, v.artifact_key, v.sha256 FROM core.alias a JOIN core.version v"
        " ON v.model_id = a.model_id AND v.version = a.version WHERE a.model_id = :model_id AND a.name = :name",
        model_id=model_id,
        name=CHAMPION,
    ).one_or_none()
    return None if row is None else Champion(row.version, row.seq, row.artifact_key, row.sha256)
