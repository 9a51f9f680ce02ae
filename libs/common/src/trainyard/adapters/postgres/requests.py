"""Decisions, training requests and runs in Postgres, from the scheduler's side."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres.sql import as_json, run
from trainyard.contracts.requests import (
    Decision,
    NewRequest,
    OpenRequest,
    RequestRecord,
    Requests,
    RunRecord,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

_DECISION = "SELECT id, fired, reason, numbers, request_id::text, at FROM core.decision WHERE model_id = :model_id"
_REQUEST = """
    SELECT r.id::text, m.name AS model, r.reason, r.state, r.upto_seq, r.new_rows, r.settings,
           r.priority, r.instance_types, r.spot, r.attempt,
           r.cancel_requested, r.error_class, r.error, r.created_at, r.started_at, r.finished_at
    FROM core.training_request r JOIN core.model m ON m.id = r.model_id"""
_RUN = """
    SELECT u.id::text, u.request_id::text, m.name AS model, u.attempt, u.state, u.worker, u.instance_id, u.progress,
           u.started_at, u.ended_at, u.error, v.version, u.instance_type, u.cost_usd
    FROM core.run u JOIN core.training_request r ON r.id = u.request_id JOIN core.model m ON m.id = r.model_id
    LEFT JOIN core.version v ON v.run_id = u.id"""

_REQUESTS_BEHIND = """
    WHERE r.model_id = :model_id AND (CAST(:before AS uuid) IS NULL OR (r.created_at, r.id) <
          (SELECT b.created_at, b.id FROM core.training_request b WHERE b.id = CAST(:before AS uuid)))
    ORDER BY r.created_at DESC, r.id DESC LIMIT :limit"""
_RUNS_BEHIND = """
    WHERE m.deleted_at IS NULL AND (CAST(:model AS text) IS NULL OR m.name = :model)
          AND (CAST(:before AS uuid) IS NULL OR (u.started_at, u.id) <
               (SELECT b.started_at, b.id FROM core.run b WHERE b.id = CAST(:before AS uuid)))
    ORDER BY u.started_at DESC, u.id DESC LIMIT :limit"""


class PostgresRequests(Requests):
    """``core.decision``, ``core.training_request``, ``core.run`` and ``core.trial``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def latest_decision(self, model_id: int) -> Decision | None:
        """Return the newest decision."""
        return next(iter(self.decisions(model_id, 1, None)), None)

    def decide(
        self, model_id: int, *, fired: bool, reason: str, numbers: Mapping[str, Any], request_id: str | None
    ) -> None:
        """Append a decision."""
        run(
            self._connection,
            "INSERT INTO core.decision (model_id, fired, reason, numbers, request_id)"
            " VALUES (:model_id, :fired, :reason, CAST(:numbers AS jsonb), CAST(:request_id AS uuid))",
            model_id=model_id,
            fired=fired,
            reason=reason,
            numbers=as_json(numbers),
            request_id=request_id,
        )

    def decisions(self, model_id: int, limit: int, before: int | None) -> list[Decision]:
        """Return decisions, newest first."""
        found = run(
            self._connection,
            f"{_DECISION} AND (CAST(:before AS bigint) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit",
            model_id=model_id,
            before=before,
            limit=limit,
        )
        return [Decision(**row) for row in found.mappings()]

    def add(self, request: NewRequest) -> RequestRecord | None:
        """Insert a request unless an open one has the same snapshot."""
        ident = str(uuid.uuid4())
        added = run(
            self._connection,
            "INSERT INTO core.training_request (id, model_id, reason, upto_seq, new_rows, settings, requested_by,"
            " trace_id, priority, instance_types, spot) VALUES (CAST(:id AS uuid), :model_id, :reason, :upto_seq,"
            " :new_rows, CAST(:settings AS jsonb), :requested_by, :trace_id, :priority, :instance_types, :spot)"
            " ON CONFLICT (model_id, upto_seq) WHERE state IN ('queued', 'running') DO NOTHING",
            id=ident,
            model_id=request.model_id,
            reason=request.reason,
            upto_seq=request.upto_seq,
            new_rows=request.new_rows,
            settings=as_json(request.settings),
            requested_by=request.requested_by,
            trace_id=request.trace_id,
            priority=request.priority,
            instance_types=list(request.instance_types),
            spot=request.spot,
        )
        return self.get(ident) if added.rowcount else None

    def get(self, request_id: str, *, lock: bool = False) -> RequestRecord | None:
        """Return the request."""
        held = " FOR NO KEY UPDATE OF r" if lock else ""
        return self._one(f"{_REQUEST} WHERE r.id = CAST(:id AS uuid){held}", id=request_id)

    def open_for(self, model_id: int, upto_seq: int | None = None) -> RequestRecord | None:
        """Return the newest open request, or that of a snapshot."""
        return self._one(
            _REQUEST + " WHERE r.model_id = :model_id AND r.state IN ('queued', 'running')"
            " AND (CAST(:upto_seq AS bigint) IS NULL OR r.upto_seq = :upto_seq)"
            " ORDER BY r.created_at DESC, r.id DESC LIMIT 1",
            model_id=model_id,
            upto_seq=upto_seq,
        )

    def newest(self, model_id: int, states: Sequence[str]) -> RequestRecord | None:
        """Return the request with the highest snapshot."""
        return self._one(
            _REQUEST + " WHERE r.model_id = :model_id AND r.state = ANY(:states)"
            " ORDER BY r.upto_seq DESC, r.created_at DESC LIMIT 1",
            model_id=model_id,
            states=list(states),
        )

    def page(self, model_id: int, limit: int, before: str | None) -> list[RequestRecord]:
        """Return requests, newest first."""
        found = run(
            self._connection,
            f"{_REQUEST} {_REQUESTS_BEHIND}",
            model_id=model_id,
            before=before,
            limit=limit,
        )
        return [RequestRecord(**row) for row in found.mappings()]

    def cancel(self, request_id: str, *, at_once: bool) -> None:
        """Cancel, or ask the holder to."""
        run(
            self._connection,
            "UPDATE core.training_request SET cancel_requested = true,"
            " state = CASE WHEN :at_once THEN 'cancelled' ELSE state END,"
            " finished_at = CASE WHEN :at_once THEN now() END"
            " WHERE id = CAST(:id AS uuid) AND state IN ('queued', 'running')",
            id=request_id,
            at_once=at_once,
        )
        if at_once:
            self._close_runs([request_id])

    def cancel_queued(self, model_id: int) -> list[str]:
        """Cancel what nobody holds, ask the holders of the rest."""
        found = run(
            self._connection,
            """
            UPDATE core.training_request r SET cancel_requested = true,
                   finished_at = CASE WHEN u.unheld THEN now() END,
                   state = CASE WHEN u.unheld THEN 'cancelled' ELSE r.state END
            FROM (SELECT id, state = 'queued' OR coalesce(lease_until, '-infinity') < clock_timestamp() AS unheld
                  FROM core.training_request WHERE model_id = :model_id AND state IN ('queued', 'running')
                  FOR NO KEY UPDATE) u
            WHERE r.id = u.id RETURNING r.id::text, r.state""",
            model_id=model_id,
        ).all()
        self._close_runs([row.id for row in found if row.state == "cancelled"])
        return [row.id for row in found]

    def open_requests(self) -> list[OpenRequest]:
        """Return all open requests, oldest first; ages by the clock of the database."""
        found = run(
            self._connection,
            """
            SELECT r.id::text, r.state, u.instance_id, r.send_count,
                   r.state = 'running' AND coalesce(r.lease_until >= clock_timestamp(), false) AS lease_live,
                   CAST(extract(epoch FROM clock_timestamp() - r.last_sent_at) AS float8) AS sent_ago,
                   CAST(extract(epoch FROM r.last_sent_at) AS float8) AS sent_at,
                   CAST(extract(epoch FROM clock_timestamp() - r.lease_until) AS float8) AS lease_ended_ago,
                   CAST(extract(epoch FROM clock_timestamp() - r.created_at) AS float8) AS waited,
                   r.priority, r.instance_types, r.spot
            FROM core.training_request r LEFT JOIN core.run u ON u.request_id = r.id AND u.fence = r.fence
            WHERE r.state IN ('queued', 'running') ORDER BY r.created_at, r.id""",
        )
        return [OpenRequest(**row) for row in found.mappings()]

    def sent(self, request_ids: Sequence[str]) -> None:
        """Note a send of each."""
        run(
            self._connection,
            "UPDATE core.training_request SET last_sent_at = clock_timestamp(), send_count = send_count + 1"
            " WHERE id = ANY(CAST(:ids AS uuid[]))",
            ids=list(request_ids),
        )

    def runs(self, model: str | None, limit: int, before: str | None) -> list[RunRecord]:
        """Return runs, newest first."""
        found = run(
            self._connection,
            f"{_RUN} {_RUNS_BEHIND}",
            model=model,
            before=before,
            limit=limit,
        )
        return [RunRecord(**row, trials=()) for row in found.mappings()]

    def run(self, run_id: str) -> RunRecord | None:
        """Return one run with its trials."""
        row = run(self._connection, f"{_RUN} WHERE u.id = CAST(:id AS uuid)", id=run_id).mappings().one_or_none()
        if row is None:
            return None
        trials = run(
            self._connection,
            "SELECT number, family, params, metrics, seconds, chosen FROM core.trial"
            " WHERE run_id = CAST(:id AS uuid) ORDER BY number",
            id=run_id,
        )
        return RunRecord(**row, trials=tuple(dict(trial) for trial in trials.mappings()))

    def _close_runs(self, request_ids: Sequence[str]) -> None:
        """End the runs whose trainers vanished: once their request has ended, nobody else will."""
        run(
            self._connection,
            "UPDATE core.run SET state = 'lost', ended_at = now(), error_class = 'lost', error = 'its lease ran out'"
            " WHERE request_id = ANY(CAST(:ids AS uuid[])) AND state = 'running'",
            ids=list(request_ids),
        )

    def _one(self, statement: str, **values: Any) -> RequestRecord | None:
        row = run(self._connection, statement, **values).mappings().one_or_none()
        return None if row is None else RequestRecord(**row)
