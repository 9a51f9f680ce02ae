"""The steps from HTTP to the prediction log, as Postgres has them."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.tracing import MOST_COUNTED, MOST_SHOWN, Heads, Step, Tracing
from trainyard.errors import MessageError
from trainyard.messages import DataArrived, TrainingRequest, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from trainyard.messages import Message

#: Each query's columns after id, at and trace_id are the step's facts.
_BATCH = """
    SELECT CAST(b.id AS text) AS id, b.created_at AS at, b.trace_id, d.name AS dataset, b.source, b.state,
        b.row_count AS rows, b.rejected_count AS rejected, b.first_seq, b.last_seq
    FROM core.batch b JOIN core.dataset d ON d.id = b.dataset_id
"""
_REQUEST = """
    SELECT CAST(r.id AS text) AS id, r.created_at AS at, r.trace_id, m.name AS model, r.reason, r.state,
        r.requested_by, r.upto_seq, r.new_rows, r.error
    FROM core.training_request r JOIN core.model m ON m.id = r.model_id
"""
_RUN = """
    SELECT CAST(u.id AS text) AS id, u.started_at AS at, r.trace_id, u.state, u.worker, u.instance_id, u.error_class,
        u.error
    FROM core.run u JOIN core.training_request r ON r.id = u.request_id
"""
_VERSION = """
    SELECT m.name || '@' || v.version AS id, v.created_at AS at, r.trace_id, m.name AS model, v.version, v.passed,
        left(v.sha256, 12) AS sha256,
        ARRAY(SELECT a.name FROM core.alias a WHERE a.model_id = v.model_id AND a.version = v.version ORDER BY 1)
            AS aliases
    FROM core.version v JOIN core.model m ON m.id = v.model_id
    LEFT JOIN core.training_request r ON r.id = v.request_id
"""
_PREDICTION = """
    SELECT p.id, p.predicted_at AS at, p.trace_id, p.model, p.version, p.output -> 'prediction' AS prediction,
        p.latency_us
    FROM core.prediction p WHERE p.id = :ident OR p.trace_id = :ident
        OR p.id IN (SELECT f.prediction_id FROM core.feedback f WHERE f.trace_id = :ident)
    ORDER BY p.predicted_at DESC
"""
_FIRST_REQUESTS = """
    SELECT CAST(f.id AS text) FROM core.batch b JOIN core.model m ON m.dataset_id = b.dataset_id, LATERAL (
        SELECT r.id FROM core.training_request r WHERE r.model_id = m.id AND r.upto_seq >= b.last_seq
        AND r.reproduces IS NULL AND r.created_at >= b.created_at ORDER BY r.created_at LIMIT 1) f
    WHERE b.id = CAST(:batch AS uuid) AND b.state = 'committed'
"""
#: A message is written in the transaction of what it tells of, so both have its time.
_MESSAGES = """
    SELECT CAST(o.id AS text) AS id, o.created_at AS at, CAST(NULL AS text) AS trace_id, o.queue, o.type, o.sent_at,
        o.body
    FROM core.outbox o WHERE o.type = :type AND o.created_at = :at ORDER BY o.id
"""
#: The message that tells of each kind of record.
_TOLD_BY: dict[str, type[Message]] = {"batch": DataArrived, "request": TrainingRequest}
_VERSION_ID = re.compile(r"([^@]+)@([0-9]{1,9})")


class PostgresTracing(Tracing):
    """Looks a trace up; each question is a transaction of its own, for nothing is changed."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def heads(self, ident: str) -> Heads:
        """Look the id up everywhere."""
        where, values = "{0}.trace_id = :ident", {"ident": ident}
        if (number := _uuid(ident)) is not None:
            where, values = f"({where} OR {{0}}.id = CAST(:number AS uuid))", {**values, "number": number}
        batches = self._steps("batch", f"{_BATCH} WHERE {where.format('b')} ORDER BY b.created_at DESC", **values)
        requests = self._steps(
            "request", f"{_REQUEST} WHERE {where.format('r')} ORDER BY r.created_at DESC", **values
        ) or self._requests_of_run(number)
        predictions = self._steps("prediction", _PREDICTION, ident=ident)
        named = _VERSION_ID.fullmatch(ident)
        versions = (
            [] if named is None else self._versions("m.name = :m AND v.version = :v", m=named[1], v=int(named[2]))
        )
        return Heads(batches, requests, predictions, versions)

    def _requests_of_run(self, number: str | None) -> list[Step]:
        if number is None:
            return []
        of_run = "r.id = (SELECT u.request_id FROM core.run u WHERE u.id = CAST(:run AS uuid))"
        return self._steps("request", f"{_REQUEST} WHERE {of_run}", run=number)

    def batches_of(self, request_id: str) -> list[Step]:
        """Look among the dataset's batches, by their span."""
        return self._steps(
            "batch",
            f"""{_BATCH} JOIN core.model m ON m.dataset_id = b.dataset_id
                JOIN core.training_request r ON r.model_id = m.id
                WHERE r.id = CAST(:request AS uuid) AND b.state = 'committed' AND r.reproduces IS NULL
                AND b.first_seq <= r.upto_seq AND b.last_seq > r.upto_seq - r.new_rows
                ORDER BY b.first_seq DESC""",
            request=request_id,
        )

    def requests_of(self, batch_id: str) -> list[Step]:
        """Look at each model of the batch's dataset."""
        with transaction(self._engine) as connection:
            ids = run(connection, _FIRST_REQUESTS, batch=batch_id).scalars().all()
        query = f"{_REQUEST} WHERE r.id = ANY(CAST(:ids AS uuid[])) ORDER BY r.created_at DESC"
        return self._steps("request", query, ids=list(ids))

    def messages_of(self, step: Step) -> list[Step]:
        """Read the bodies of what was written at the same time."""
        found = self._steps("message", _MESSAGES, type=_TOLD_BY[step.kind].type, at=step.at)
        return [
            Step(m.kind, m.id, m.at, step.trace_id, {k: v for k, v in m.facts.items() if k != "body"})
            for m in found
            if _subject(m) == step.id
        ]

    def runs_of(self, request_id: str) -> list[Step]:
        """Return them in the order of their starts."""
        query = f"{_RUN} WHERE u.request_id = CAST(:request AS uuid) ORDER BY u.started_at"
        return self._steps("run", query, request=request_id)

    def request_of_version(self, model: str, version: int) -> Step | None:
        """Look in the version's row."""
        query = f"""{_REQUEST} JOIN core.version v ON v.request_id = r.id
            WHERE m.name = :model AND v.version = :version ORDER BY m.deleted_at DESC NULLS FIRST"""
        return _first(self._steps("request", query, model=model, version=version))

    def version_of(self, run_id: str) -> Step | None:
        """Look among the versions."""
        return _first(self._versions("v.run_id = CAST(:run AS uuid)", run=run_id))

    def answered_by(self, model: str, version: int) -> Step | None:
        """Count among the newest."""
        query = """
            SELECT :model || '@' || :version AS id, max(predicted_at) AS at, CAST(NULL AS text) AS trace_id,
                count(*) AS rows, CAST(:most AS integer) AS among, (array_agg(id ORDER BY seq DESC))[1] AS newest
            FROM (SELECT id, seq, version, predicted_at FROM core.prediction WHERE model = :model
                  ORDER BY seq DESC LIMIT :most) recent
            WHERE version = CAST(:version AS integer) HAVING count(*) > 0"""
        return _first(self._steps("predictions", query, model=model, version=str(version), most=MOST_COUNTED))

    def feedback_of(self, prediction_id: str) -> list[Step]:
        """Return the labels in the order in which they came."""
        query = """SELECT CAST(seq AS text) AS id, given_at AS at, trace_id, label FROM core.feedback
            WHERE prediction_id = :prediction ORDER BY seq"""
        return self._steps("feedback", query, prediction=prediction_id)

    def _version(self, model: str, number: str) -> list[Step]:
        return self._versions("m.name = :model AND v.version = :version", model=model, version=int(number))

    def _versions(self, where: str, **values: Any) -> list[Step]:
        return self._steps("version", f"{_VERSION} WHERE {where} ORDER BY m.deleted_at DESC NULLS FIRST", **values)

    def _steps(self, kind: str, query: str, **values: Any) -> list[Step]:
        with transaction(self._engine) as connection:
            found = run(connection, f"{query} LIMIT {MOST_SHOWN}", **values).mappings().all()
        return [
            Step(kind, row["id"], row["at"], row["trace_id"], {k: v for k, v in row.items() if k not in _COMMON})
            for row in found
        ]


_COMMON = frozenset({"id", "at", "trace_id"})


def _first(steps: Sequence[Step]) -> Step | None:
    return steps[0] if steps else None


def _subject(message: Step) -> str | None:
    """Return the id of what a message of the outbox tells of, None for one that cannot be read."""
    try:
        told = decode(message.facts["type"], message.facts["body"])
    except MessageError:
        return None
    return told.batch_id if isinstance(told, DataArrived) else getattr(told, "request_id", None)


def _uuid(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
