"""The prediction log on Postgres: ``core.prediction``, a table for each month below it, and ``core.feedback``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg2 import sql

from trainyard.adapters.postgres import dataset_records, journal
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.idempotency import store_answer, stored_answer
from trainyard.contracts.prediction_log import (
    Added,
    Feedback,
    LoggedPrediction,
    Prediction,
    PredictionLog,
    ShadowScore,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.prediction_log import Label
    from trainyard.schema import Schema

# Sets of rows travel as one JSON parameter: one round trip, however many they are.
# An id is looked for in every month, one step in an index each; ON CONFLICT is for two of the same message.
_ADD = """
    WITH given AS MATERIALIZED (
        SELECT r.*, known.found IS NOT NULL AS known, r.predicted_at < kept.since AS expired
        FROM core.prediction_kept kept, ROWS FROM (jsonb_to_recordset(%(rows)s::jsonb) AS (
            id text, model text, version integer, key_id text, trace_id text,
            inputs jsonb, output jsonb, latency_us integer, predicted_at timestamptz)) WITH ORDINALITY r
        LEFT JOIN LATERAL (SELECT true AS found FROM core.prediction p WHERE p.id = r.id LIMIT 1) known ON true),
    added AS (
        INSERT INTO {month} (id, model, version, key_id, trace_id, inputs, output, latency_us, predicted_at, logged_at)
        SELECT id, model, version, key_id, trace_id, inputs, output, latency_us, predicted_at, %(at)s
        FROM given WHERE NOT known AND NOT expired ORDER BY ordinality
        ON CONFLICT (id) DO NOTHING RETURNING model, version, latency_us, predicted_at),
    counted AS (
        INSERT INTO core.traffic AS t (model, hour, version, latency, predictions)
        SELECT model, date_trunc('hour', predicted_at, 'UTC'), version,
               CASE WHEN latency_us IS NULL THEN -1 ELSE ceil(ln(greatest(latency_us, 1)) / ln(1.1)) END, count(*)
        FROM added GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (model, hour, version, latency) DO UPDATE SET predictions = t.predictions + excluded.predictions)
    SELECT (SELECT count(*) FROM added), (SELECT count(*) FROM given WHERE NOT known AND expired)
"""
_ADD_SHADOWS = """
    INSERT INTO core.shadow (prediction_id, model, version, shadow_version, difference, changed, scored_at)
    SELECT prediction_id, model, version, shadow_version, difference, changed, scored_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        prediction_id text, model text, version integer, shadow_version integer, difference double precision,
        changed boolean, scored_at timestamptz)
    ON CONFLICT (prediction_id, shadow_version) DO NOTHING
"""
_GIVE = """
    INSERT INTO core.feedback (prediction_id, model, keys, label, key_id, trace_id)
    SELECT prediction_id, model, nullif(key, 'null'), label, :key_id, :trace_id
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (prediction_id text, model text, key jsonb, label jsonb)
"""
_PARKED = """
    SELECT count(*) FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (prediction_id text)
    WHERE r.prediction_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM core.prediction p WHERE p.id = r.prediction_id)
"""
# Places are taken under a lock that is held to COMMIT, so nothing appears later at or below a place that anyone has
# seen: whoever reads on from there misses nothing. (The key is any number; nothing else uses it. The lock of
# core.prediction is taken by core.open_prediction_month.)
_IN_ORDER = "SELECT pg_advisory_xact_lock(hashtext('core.feedback'), 1)"
#: No place is as high.
_BEHIND_ALL = 2**63 - 1
_LOGGED = (
    "SELECT p.seq, p.id, p.model, p.version, p.key_id, p.trace_id, p.inputs, p.output, p.latency_us, p.predicted_at,"
    " f.label FROM core.prediction p LEFT JOIN LATERAL (SELECT label FROM core.feedback"
    " WHERE prediction_id = p.id ORDER BY seq DESC LIMIT 1) f ON true"
)


class PostgresPredictionLog(PredictionLog):
    """The log in the engine's database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, predictions: Sequence[Prediction]) -> Added:
        """Insert what is new into the table of this month."""
        rows = json.dumps([{**asdict(p), "predicted_at": p.predicted_at.isoformat()} for p in predictions])
        with transaction(self._engine) as connection:
            opened = connection.execute(sa.text("SELECT month, at FROM core.open_prediction_month()")).one()
            statement = sql.SQL(_ADD).format(month=sql.Identifier("core", opened.month))
            cursor: Any = connection.connection.cursor()
            cursor.execute(statement, {"rows": rows, "at": opened.at})
            return Added(*cursor.fetchone())

    def add_shadows(self, scores: Sequence[ShadowScore]) -> int:
        """Insert what is new."""
        rows = json.dumps([{**asdict(one), "scored_at": one.scored_at.isoformat()} for one in scores])
        with transaction(self._engine) as connection:
            return connection.execute(sa.text(_ADD_SHADOWS), {"rows": rows}).rowcount

    def give(
        self, labels: Sequence[Label], *, key_id: str | None, trace_id: str | None, once: Repeatable | None
    ) -> Feedback:
        """Insert all labels in one transaction, with the answer that a repetition will get."""
        rows = json.dumps([asdict(label) for label in labels])
        with transaction(self._engine) as connection:
            if once is not None and (earlier := stored_answer(connection, once)) is not None:
                return Feedback(**json.loads(earlier[1]))
            connection.execute(sa.text(_IN_ORDER))
            connection.execute(sa.text(_GIVE), {"rows": rows, "key_id": key_id, "trace_id": trace_id})
            parked = connection.execute(sa.text(_PARKED), {"rows": rows}).scalar_one()
            answer = Feedback(len(labels), parked)
            if once is not None:
                store_answer(connection, once, 200, json.dumps(asdict(answer)))
            journal.announce(connection, "feedback.given", "feedback", asdict(answer))
            return answer

    def page(
        self, *, model: str | None, version: int | None, limit: int, after: int = 0, newest: bool = False
    ) -> list[LoggedPrediction]:
        """Return predictions in log order, or from its end."""
        wanted = {"model": model, "version": version}
        where = "".join(f" AND p.{name} = :{name}" for name, value in wanted.items() if value is not None)
        behind, order = ("p.seq < :after", "p.seq DESC") if newest else ("p.seq > :after", "p.seq")
        with transaction(self._engine) as connection:
            found = connection.execute(
                sa.text(f"{_LOGGED} WHERE {behind}{where} ORDER BY {order} LIMIT :limit"),
                {**wanted, "after": _BEHIND_ALL if newest and not after else after, "limit": limit},
            )
            return [_logged(row) for row in found]

    def find(self, prediction_id: str) -> LoggedPrediction | None:
        """Return one prediction, or None."""
        with transaction(self._engine) as connection:
            row = connection.execute(sa.text(f"{_LOGGED} WHERE p.id = :id"), {"id": prediction_id}).one_or_none()
        return None if row is None else _logged(row)

    def shadows_of(self, prediction_id: str) -> list[ShadowScore]:
        """Return what shadows would have answered."""
        with transaction(self._engine) as connection:
            found = connection.execute(
                sa.text(
                    "SELECT prediction_id, model, version, shadow_version, difference, changed, scored_at"
                    " FROM core.shadow WHERE prediction_id = :id ORDER BY shadow_version"
                ),
                {"id": prediction_id},
            )
            return [ShadowScore(**row) for row in found.mappings()]

    def schemas(self, models: Sequence[str]) -> dict[str, Schema]:
        """Return the schema that each live model reads."""
        with transaction(self._engine) as connection:
            found = connection.execute(
                sa.text(
                    "SELECT m.name, d.columns FROM core.model m JOIN core.dataset d ON d.id = m.dataset_id"
                    " WHERE m.deleted_at IS NULL AND m.name = ANY(:names)"
                ),
                {"names": list(models)},
            )
            return {row.name: dataset_records.schema_of(row.columns) for row in found}

    def knows(self, model: str) -> bool:
        """Tell whether a model, deleted ones included, has or had that name."""
        with transaction(self._engine) as connection:
            return bool(
                connection.execute(
                    sa.text("SELECT EXISTS (SELECT FROM core.model WHERE name = :name)"), {"name": model}
                ).scalar_one()
            )


def _logged(row: Any) -> LoggedPrediction:
    fields = row._asdict()
    return LoggedPrediction(fields.pop("seq"), label=fields.pop("label"), prediction=Prediction(**fields))
