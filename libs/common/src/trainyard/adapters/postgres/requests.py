"""Decisions, training requests and runs in Postgres, from the scheduler's side."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres import requests_sql as sql
from trainyard.adapters.postgres.sql import UNHURRIED, as_json, run
from trainyard.contracts.requests import (
    COUNTED_STATES,
    POLICY_ACTOR,
    Attempt,
    Decision,
    NewRequest,
    OpenRequest,
    Position,
    Refused,
    RequestRecord,
    Requests,
    RunRecord,
    Standing,
)
from trainyard.contracts.runs import Line
from trainyard.messages import TrainingRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa


class PostgresRequests(Requests):
    """``core.decision``, ``core.training_request``, ``core.run`` and ``core.trial``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def standing(self, model_id: int, *, labels: bool) -> Standing:
        """Look at everything a policy may ask about, in one statement (two with labels)."""
        counted = list(COUNTED_STATES)
        row = dict(
            run(self._connection, sql.STANDING, model_id=model_id, counted=counted, policy=POLICY_ACTOR)
            .mappings()
            .one()
        )
        new_labels: int | None = None
        if labels:
            new_labels = run(self._connection, sql.NEW_LABELS, model_id=model_id, counted=counted).scalar_one()
        state, upto, at, in_a_row = (row.pop(f) for f in ("refused_state", "refused_seq", "refused_at", "in_a_row"))
        refused = None if state is None else Refused(state, upto, at, in_a_row)
        return Standing(**row, new_labels=new_labels, refused=refused)

    def cron_answered(self, model_id: int) -> None:
        """Move the mark to now."""
        run(
            self._connection, "UPDATE core.model SET cron_upto = clock_timestamp() WHERE id = :model_id",
            model_id=model_id,
        )  # fmt: skip

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

    def decide_again(self, model_id: int, *, reason: str, numbers: Mapping[str, Any]) -> bool:
        """Count it on the newest row, if that says the same.

        Then nothing else changes in the transaction: a count that a crash of the server forgets misleads nobody.
        """
        again = run(
            self._connection,
            "UPDATE core.decision SET times = times + 1, last_at = clock_timestamp(), numbers = CAST(:numbers AS jsonb)"  # noqa: S608 - of a constant
            " WHERE id = (SELECT max(id) FROM core.decision WHERE model_id = :model_id)"
            f" AND NOT fired AND reason = :reason RETURNING {UNHURRIED}",
            model_id=model_id,
            reason=reason,
            numbers=as_json(numbers),
        )
        return bool(again.rowcount)

    def decisions(self, model_id: int, limit: int, before: int | None) -> list[Decision]:
        """Return decisions, newest first."""
        found = run(
            self._connection,
            f"{sql.DECISION} AND (CAST(:before AS bigint) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit",
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
            " trace_id, priority, instance_types, spot, reproduces, label_seq) VALUES (CAST(:id AS uuid), :model_id,"
            " :reason, :upto_seq, :new_rows, core.with_families(CAST(:settings AS jsonb)), :requested_by,"
            " coalesce(:trace_id, (SELECT b.trace_id FROM core.batch b JOIN core.model m ON m.dataset_id = b.dataset_id"
            "  WHERE m.id = :model_id AND b.state = 'committed' AND b.first_seq <= :upto_seq"
            "  ORDER BY b.first_seq DESC LIMIT 1)),"
            " :priority, :instance_types, :spot, :reproduces, (SELECT coalesce(max(seq), 0) FROM core.feedback))"
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
            reproduces=request.reproduces,
        )
        return self.get(ident) if added.rowcount else None

    def get(self, request_id: str, *, lock: bool = False) -> RequestRecord | None:
        """Return the request."""
        held = " FOR NO KEY UPDATE OF r" if lock else ""
        return self._one(f"{sql.REQUEST} WHERE r.id = CAST(:id AS uuid){held}", id=request_id)

    def open_for(self, model_id: int, upto_seq: int | None = None) -> RequestRecord | None:
        """Return the newest open training, or that of a snapshot."""
        return self._one(
            sql.REQUEST + " WHERE r.model_id = :model_id AND r.state IN ('queued', 'running') AND r.reproduces IS NULL"
            " AND (CAST(:upto_seq AS bigint) IS NULL OR r.upto_seq = :upto_seq)"
            " ORDER BY r.created_at DESC, r.id DESC LIMIT 1",
            model_id=model_id,
            upto_seq=upto_seq,
        )

    def reproducing(self, model_id: int) -> RequestRecord | None:
        """Return the open reproduction; the index of open requests allows one."""
        return self._one(
            sql.REQUEST + " WHERE r.model_id = :model_id AND r.state IN ('queued', 'running')"
            " AND r.reproduces IS NOT NULL",
            model_id=model_id,
        )

    def newest(self, model_id: int, states: Sequence[str]) -> RequestRecord | None:
        """Return the request with the highest snapshot."""
        return self._one(
            sql.REQUEST + " WHERE r.model_id = :model_id AND r.state = ANY(:states)"
            " AND r.reproduces IS NULL ORDER BY r.upto_seq DESC, r.created_at DESC LIMIT 1",
            model_id=model_id,
            states=list(states),
        )

    def page(
        self, limit: int, before: str | None, *, model_id: int | None = None, state: str | None = None
    ) -> list[RequestRecord]:
        """Return requests, newest first."""
        found = run(
            self._connection, sql.PAGE,
            model_id=model_id, state=state, before=before, limit=limit,
        )  # fmt: skip
        return [RequestRecord(**row) for row in found.mappings()]

    def page_texts(
        self, limit: int, before: str | None, *, model_id: int | None = None, state: str | None = None
    ) -> list[tuple[str, str]]:
        """Let Postgres write the JSON: ten thousand records cost several times that in Python."""
        found = run(
            self._connection, sql.PAGE_TEXTS,
            model_id=model_id, state=state, before=before, limit=limit,
        )  # fmt: skip
        return [(row.id, row.text) for row in found]

    def position(self, request_id: str) -> Position:
        """Look at the request among all."""
        body = TrainingRequest(request_id).outgoing().body
        row = run(self._connection, sql.POSITION, id=request_id, body=body).mappings().one()
        runs = run(
            self._connection,
            "SELECT id::text AS run_id, attempt, state, worker, error_class, error,"
            " CAST(extract(epoch FROM coalesce(ended_at, clock_timestamp()) - started_at) AS float8) AS seconds"
            " FROM core.run WHERE request_id = CAST(:id AS uuid) ORDER BY fence",
            id=request_id,
        )
        return Position(**row, attempts=tuple(Attempt(**found) for found in runs.mappings()))

    def cancel(self, request_id: str, *, at_once: bool, why: str) -> None:
        """Cancel, or ask the holder to."""
        run(
            self._connection,
            "UPDATE core.training_request SET cancel_requested = true,"
            " state = CASE WHEN :at_once THEN 'cancelled' ELSE state END,"
            " error = CASE WHEN :at_once THEN :why ELSE error END,"
            " holder = CASE WHEN :at_once THEN NULL ELSE holder END,"
            " lease_until = CASE WHEN :at_once THEN NULL ELSE lease_until END,"
            " finished_at = CASE WHEN :at_once THEN clock_timestamp() END"
            " WHERE id = CAST(:id AS uuid) AND state IN ('queued', 'running')",
            id=request_id,
            at_once=at_once,
            why=why,
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
                   error = CASE WHEN u.unheld THEN 'cancelled: the model was deleted' ELSE r.error END,
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
        found = run(self._connection, f"{sql.OPEN} ORDER BY r.created_at, r.id")
        return [OpenRequest(**row) for row in found.mappings()]

    def neglected(self, *, silent_seconds: float, sent_before: float | None) -> list[OpenRequest]:
        """Return those whose message may be lost."""
        found = run(
            self._connection,
            f"""{sql.OPEN} AND NOT (r.state = 'running' AND coalesce(r.lease_until >= clock_timestamp(), false))
                AND (r.last_sent_at IS NULL
                     OR r.last_sent_at <= clock_timestamp() - make_interval(secs => :silent)
                     OR extract(epoch FROM r.last_sent_at) < CAST(:before AS float8)
                     OR (r.state = 'running' AND r.lease_until > r.last_sent_at))
                ORDER BY r.created_at, r.id""",
            silent=silent_seconds,
            before=sent_before,
        )
        return [OpenRequest(**row) for row in found.mappings()]

    def any_open(self) -> bool:
        """Ask the index."""
        found: bool = run(
            self._connection,
            "SELECT EXISTS (SELECT FROM core.training_request WHERE state IN ('queued', 'running'))",
        ).scalar_one()
        return found

    def sent(self, request_ids: Sequence[str]) -> None:
        """Note a send of each."""
        run(
            self._connection,
            "UPDATE core.training_request SET last_sent_at = clock_timestamp(), send_count = send_count + 1"
            " WHERE id = ANY(CAST(:ids AS uuid[]))",
            ids=list(request_ids),
        )

    def runs(self, model: str | None, limit: int, before: str | None) -> list[RunRecord]:
        """Return runs, newest first.

        The model's number is looked up before. Of a number in the statement Postgres knows how many runs have it; of
        one that it has to find itself it thinks that they are many, and walks through everybody's.
        """
        values: dict[str, Any] = {"before": before, "limit": limit}
        if model is not None:
            values["model_id"] = run(
                self._connection, "SELECT id FROM core.model WHERE name = :model AND deleted_at IS NULL", model=model
            ).scalar()
        behind = sql.RUNS_BEHIND.format(of_model="" if model is None else "AND u.model_id = :model_id")
        found = run(self._connection, f"{sql.RUN} {behind}", **values)
        return [RunRecord(**row, trials=()) for row in found.mappings()]

    def run(self, run_id: str) -> RunRecord | None:
        """Return one run with its trials."""
        row = run(self._connection, f"{sql.RUN} WHERE u.id = CAST(:id AS uuid)", id=run_id).mappings().one_or_none()
        if row is None:
            return None
        trials = run(
            self._connection,
            "SELECT number, core.kind_of(family) AS kind, params, metrics, seconds, chosen, pruned, worker"
            " FROM core.trial WHERE run_id = CAST(:id AS uuid) ORDER BY number",
            id=run_id,
        )
        return RunRecord(**row, trials=tuple(dict(trial) for trial in trials.mappings()))

    def run_lines(self, run_id: str, limit: int, before: int | None) -> list[Line]:
        """Read the lines backwards."""
        found = run(
            self._connection,
            "SELECT number, at, level, source, text FROM core.run_line WHERE run_id = CAST(:id AS uuid)"
            " AND (CAST(:before AS bigint) IS NULL OR number < :before) ORDER BY number DESC LIMIT :limit",
            id=run_id,
            before=before,
            limit=limit,
        )
        return [Line(**row) for row in found.mappings()]

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
