"""Leases and publication of training requests in Postgres. Time is the database's clock, never a client's."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres import claims, journal
from trainyard.adapters.postgres.claims import MAX_ERROR_CHARS, SUITED, champion
from trainyard.adapters.postgres.copies import keep_copy
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.publication import insert_version, lock_model, lost
from trainyard.adapters.postgres.registry import PostgresVersions
from trainyard.adapters.postgres.scheduling import PostgresJournal
from trainyard.adapters.postgres.sql import UNHURRIED, as_json, run
from trainyard.contracts.registry import CHAMPION
from trainyard.contracts.runs import PENDING, Claim, Published, Runs, promotion
from trainyard.crashpoints import crashpoint, step
from trainyard.messages import TrainingRequest
from trainyard.promotion import move_alias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

    from trainyard.contracts.runs import Champion, Lease, Line, NewVersion, Reproduction, Trial

_BEAT = f"""
    WITH held AS (
        UPDATE core.training_request SET lease_until = clock_timestamp() + make_interval(secs => :lease)
        WHERE id = CAST(:id AS uuid) AND fence = :fence AND state = 'running'
        RETURNING cancel_requested, {UNHURRIED}),
    told AS (
        UPDATE core.run SET progress = CAST(:progress AS jsonb)
        WHERE id = CAST(:run AS uuid) AND CAST(:progress AS text) IS NOT NULL AND EXISTS (SELECT FROM held))
    SELECT cancel_requested FROM held"""  # noqa: S608 - of constants
_WRITE_TRIALS = """
    INSERT INTO core.trial (run_id, number, family, params, metrics, seconds, chosen, pruned, worker)
    SELECT CAST(:run AS uuid), t.number, t.kind, t.params, t.metrics, t.seconds, t.chosen, t.pruned,
           nullif(t.worker, '')
    FROM core.training_request r CROSS JOIN jsonb_to_recordset(CAST(:trials AS jsonb))
         AS t(number integer, kind text, params jsonb, metrics jsonb, seconds float8,
              chosen boolean, pruned boolean, worker text)
    WHERE r.id = CAST(:id AS uuid) AND r.fence = :fence AND r.state = :state
    ON CONFLICT (run_id, number) DO UPDATE SET chosen = excluded.chosen
    RETURNING number"""

_WRITE_LINES = f"""
    INSERT INTO core.run_line (run_id, number, at, level, source, text)
    SELECT CAST(:run AS uuid), l.number, l.at, l.level, l.source, l.text
    FROM jsonb_to_recordset(CAST(:lines AS jsonb))
         AS l(number integer, at timestamptz, level text, source text, text text)
    ON CONFLICT (run_id, number) DO NOTHING RETURNING {UNHURRIED}"""  # noqa: S608 - of constants


class PostgresRuns(Runs):
    """``core.training_request``, ``core.run``, ``core.trial``, ``core.version`` and the champion's alias."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def claim(
        self,
        request_id: str,
        *,
        worker: str,
        instance_id: str | None,
        instance_type: str | None,
        lease_seconds: float,
    ) -> Claim:
        """Lock the most urgent request that no rival has locked, and take it."""
        with transaction(self._engine) as connection:
            return claims.claim(
                connection,
                request_id,
                worker=worker,
                instance_id=instance_id,
                instance_type=instance_type,
                lease_seconds=lease_seconds,
            )

    # --- while it runs, and its ends without a version ---

    def beat(self, lease: Lease, *, lease_seconds: float, progress: Mapping[str, Any] | None = None) -> bool:
        """Move ``lease_until`` if the fence still is ours.

        The next beat says it again, and what relies on the lease relies on its fence: the disk is not waited for.
        """
        with transaction(self._engine) as connection:
            cancel = run(
                connection,
                _BEAT,
                id=lease.request_id,
                run=lease.run_id,
                fence=lease.fence,
                lease=lease_seconds,
                progress=None if progress is None else as_json(progress),
            ).scalar_one_or_none()
            if cancel is None:
                raise lost(lease)
            return bool(cancel)

    def keep_trials(self, lease: Lease, trials: Sequence[Trial]) -> None:
        """Write the trials if the fence still is ours. One that a crash of the server forgets is computed again."""
        with transaction(self._engine) as connection:
            if not self._write_trials(connection, lease, trials, state="running", also=f", {UNHURRIED}"):
                raise lost(lease)

    def keep_lines(self, run_id: str, lines: Sequence[Line]) -> None:
        """Write the lines. Those that a crash of the server forgets are missed by nobody."""
        told = [{**asdict(line), "at": line.at.isoformat()} for line in lines]
        with transaction(self._engine) as connection:
            run(connection, _WRITE_LINES, run=run_id, lines=json.dumps(told))

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

    def block(self, lease: Lease, *, reason: str) -> None:
        """End it as blocked by data."""
        with transaction(self._engine) as connection:
            self._leave(connection, lease, "blocked_by_data", None, reason)
            self._end_run(connection, lease, "blocked_by_data", None, reason)

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
            error=None if error is None else error[:MAX_ERROR_CHARS],
        )
        if not left.rowcount:
            raise lost(lease)

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
            error=None if error is None else error[:MAX_ERROR_CHARS],
        ).scalar_one()
        payload = {"request_id": lease.request_id, "run_id": lease.run_id, "error_class": error_class}
        journal.announce(connection, f"run.{state}", f"model/{model}", payload)

    # --- publication ---

    def publish(self, lease: Lease, version: NewVersion, *, compared_with: Champion | None) -> Published:
        """Version, request, run, trials and promotion, all or nothing."""
        with transaction(self._engine, committing=lambda: step("K28")) as connection:
            model = lock_model(connection, lease)
            self._leave(connection, lease, "done", None, None)
            current = champion(connection, model.id)
            promoted, words = promotion(version, compared_with, current, deleted=model.deleted_at is not None)
            number = insert_version(connection, lease, model.id, version, promoted=promoted, words=words)
            if words.startswith(PENDING):
                run(
                    connection,
                    "INSERT INTO core.approval (model_id, version, champion_seq) VALUES (:model_id, :version, :seq)",
                    model_id=model.id,
                    version=number,
                    seq=0 if current is None else current.seq,
                )
            if version.copy is not None:
                keep_copy(connection, version.artifact_key, version.sha256, version.copy, size=version.size_bytes)
            self._write_study(connection, lease, version)
            self._end_run(connection, lease, "done", None, None)
            crashpoint("K26")
            subject = f"model/{model.name}"
            payload = {"version": number, "request_id": lease.request_id, "promoted": promoted, "words": words}
            journal.announce(connection, "version.published", subject, payload)
            journal.audit(connection, actor="trainer", action="version.publish", subject=subject, details=payload)
            if promoted:
                move_alias(
                    PostgresVersions(connection),
                    PostgresJournal(connection),
                    model_id=model.id,
                    model=model.name,
                    alias=CHAMPION,
                    version=number,
                    actor="trainer",
                    reason=words[:500],
                    expected_seq=0 if current is None else current.seq,
                )
            crashpoint("K27")
        return Published(number, lease.run_id, promoted, words)

    def reproduced(self, lease: Lease, outcome: Reproduction, *, environment: Mapping[str, Any]) -> None:
        """Request and run, all or nothing."""
        with transaction(self._engine) as connection:
            self._leave(connection, lease, "done", None, None)
            self._end_run(connection, lease, "done", None, None)
            run(
                connection,
                "UPDATE core.run SET environment = CAST(:environment AS jsonb), progress = CAST(:progress AS jsonb),"
                " reproduction = CAST(:outcome AS jsonb) WHERE id = CAST(:run AS uuid)",
                run=lease.run_id,
                environment=as_json(environment),
                progress=json.dumps({"stage": "reproduced"}),
                outcome=as_json(outcome.as_dict()),
            )

    def _write_study(self, connection: sa.Connection, lease: Lease, version: NewVersion) -> None:
        """Give the publishing run the whole study, trials of earlier runs included."""
        self._write_trials(connection, lease, version.trials, state="done")
        run(
            connection,
            "UPDATE core.run SET snapshot_rows = :rows, progress = CAST(:progress AS jsonb),"
            " environment = CAST(:environment AS jsonb) WHERE id = CAST(:run AS uuid)",
            run=lease.run_id,
            environment=None if version.environment is None else as_json(version.environment),
            rows=version.snapshot_rows,
            progress=json.dumps({"stage": "published"}),
        )

    def _write_trials(
        self, connection: sa.Connection, lease: Lease, trials: Sequence[Trial], *, state: str, also: str = ""
    ) -> bool:
        """Write trials of the run in one statement; False: none, for the request is not held under this fence."""
        once = {trial.number: trial for trial in reversed(trials)}  # of two with one number the first, as in two calls
        written = run(
            connection,
            _WRITE_TRIALS + also,
            run=lease.run_id,
            id=lease.request_id,
            fence=lease.fence,
            state=state,
            trials=json.dumps([asdict(trial) for trial in once.values()], allow_nan=False),
        )
        return bool(written.rowcount)

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

    def open_requests(self, instance_type: str | None = None, instance_id: str | None = None) -> int:
        """Count."""
        with transaction(self._engine) as connection:
            found = run(
                connection,
                f"SELECT count(*) FROM core.training_request r WHERE r.state IN ('queued', 'running') AND {SUITED}",  # noqa: S608
                type=instance_type,
                instance=instance_id,
            )
            return int(found.scalar_one())
