"""A database as after years of work, made of one real version by ``generate_series``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH_ROWS = 1_000
#: Of the newest runs; older ones have been forgotten.
_RUNS_WITH_LINES, _LINES = 2_000, 40
_RUNS_WITH_TRIALS, _TRIALS = 5_000, 20


@dataclass(frozen=True)
class Size:
    """How much there is."""

    runs: int = 100_000
    versions: int = 1_000
    rows: int = 10_000_000
    predictions: int = 1_000_000


#: What is told, and the statements. Ids are hashes of numbers, so that what belongs together finds itself; all else
#: that a row has is of the one real row of its kind.
_STEPS = {
    "runs": """
        WITH one AS (SELECT r FROM core.training_request r WHERE r.state = 'done' LIMIT 1)
        INSERT INTO core.training_request SELECT (jsonb_populate_record(r, jsonb_build_object(
            'id', md5('request' || i)::uuid, 'created_at', now() - i * interval '5 min',
            'started_at', now() - i * interval '5 min', 'finished_at', now() - i * interval '5 min' + interval '9 s',
            'state', CASE WHEN i % 9 = 0 THEN 'failed' ELSE 'done' END))).*
        FROM one CROSS JOIN generate_series(1, :runs) i;
        WITH one AS (SELECT u FROM core.run u WHERE u.state = 'done' LIMIT 1)
        INSERT INTO core.run SELECT (jsonb_populate_record(u, jsonb_build_object(
            'id', md5('run' || i)::uuid, 'request_id', md5('request' || i)::uuid,
            'started_at', now() - i * interval '5 min', 'ended_at', now() - i * interval '5 min' + interval '9 s',
            'state', CASE WHEN i % 9 = 0 THEN 'failed' ELSE 'done' END,
            'error', CASE WHEN i % 9 = 0 THEN 'the rows have one class only' END))).*
        FROM one CROSS JOIN generate_series(1, :runs) i;
        INSERT INTO core.trial (run_id, number, family, params, metrics, seconds)
        SELECT md5('run' || i)::uuid, t, 'linear', '{"strength": 1.5}', '{"loss": 0.5, "log_loss": 0.5}', 0.3
        FROM generate_series(1, least(:runs, :with_trials)) i, generate_series(1, :trials) t;
        INSERT INTO core.run_line
        SELECT md5('run' || i)::uuid, l, now() - i * interval '5 min', 'info', 'trainer', 'trial ' || l || ': linear'
        FROM generate_series(1, least(:runs, :with_lines)) i, generate_series(1, :lines) l""",
    "versions": """
        WITH one AS (SELECT v FROM core.version v WHERE v.version = 1 LIMIT 1)
        INSERT INTO core.version SELECT (jsonb_populate_record(v, jsonb_build_object(
            'version', i, 'request_id', md5('request' || i)::uuid, 'run_id', md5('run' || i)::uuid,
            'created_at', now() - (:versions - i) * interval '2 hours'))).*
        FROM one CROSS JOIN generate_series(2, :versions) i;
        INSERT INTO core.deployment (model_id, alias, version, previous_version, seq, actor, reason, at)
        SELECT model_id, 'shadow', version, version - 1, version, 'policy', 'newest', created_at
        FROM core.version WHERE version > 1 ORDER BY version;
        INSERT INTO core.decision (model_id, fired, reason, numbers, at)
        SELECT m.id, false, 'not fired: ' || i || ' of 1,000,000 new rows', '{}', now() - i * interval '5 min'
        FROM core.model m, generate_series(1, greatest(1, :runs / 20)) i;
        INSERT INTO core.event (kind, subject, payload, at)
        SELECT 'run.done', 'model/buys', '{}', now() - i * interval '5 min' FROM generate_series(1, :runs) i""",
    "rows": """
        WITH grown AS (
            UPDATE core.dataset SET last_seq = last_seq + :rows WHERE name = 'shop'
            RETURNING id, last_seq - :rows AS after),
        one AS (SELECT b FROM core.batch b JOIN grown ON grown.id = b.dataset_id WHERE b.report IS NOT NULL LIMIT 1)
        INSERT INTO core.batch SELECT (jsonb_populate_record(b, jsonb_build_object(
            'id', md5('batch' || i)::uuid, 'fingerprint', 'f' || i, 'row_count', :batch_rows,
            'first_seq', grown.after + (i - 1) * :batch_rows + 1, 'last_seq', grown.after + i * :batch_rows,
            'rejected_count', CASE WHEN i % 50 = 0 THEN 20 ELSE 0 END,
            'created_at', now() - (:rows / :batch_rows - i) * interval '10 min'))).*
        FROM one CROSS JOIN grown CROSS JOIN generate_series(1, :rows / :batch_rows) i;
        INSERT INTO core.reject SELECT md5('batch' || b)::uuid, r, r, 'age', 'a whole number', 'x'
        FROM generate_series(50, :rows / :batch_rows, 50) b, generate_series(1, 20) r""",
    "predictions": """
        INSERT INTO core.{month} (id, model, version, inputs, output, latency_us, predicted_at, logged_at)
        SELECT 'p' || i, 'buys', 1 + i % 3, '{"age": 41, "income": 5000.0, "city": "Bern"}',
               '{"prediction": true, "probabilities": {"true": 0.75, "false": 0.25}}', 300 + i % 700,
               now() - (:predictions - i) * interval '1 s', now()
        FROM generate_series(1, :predictions) i;
        INSERT INTO core.traffic
        SELECT model, date_trunc('hour', predicted_at, 'UTC'), version, ceil(ln(latency_us) / ln(1.1)), count(*)
        FROM core.prediction WHERE id LIKE 'p%' GROUP BY 1, 2, 3, 4
        ON CONFLICT (model, hour, version, latency) DO NOTHING;
        INSERT INTO core.feedback (prediction_id, label)
        SELECT 'p' || i, 'true' FROM generate_series(1, :predictions, 20) i""",
}
_ROWS = """
    INSERT INTO data_.t_{dataset} (ingest_seq, c1, c2, c3, c4, c5, c6)
    SELECT i, i, 18 + i % 60, 5000.0 + i % 997, CASE WHEN i % 2 = 0 THEN 'Bern' ELSE 'Genf' END, now(), i % 60 > 30
    FROM generate_series(:first, :last) i"""
_ROWS_AT_ONCE = 500_000


def grow(engine: sa.Engine, size: Size, tell: Callable[[str], None]) -> None:
    """Make everything, in transactions of a step each; ``tell`` hears what is being made."""
    values = {
        "runs": size.runs, "versions": size.versions, "rows": size.rows, "predictions": size.predictions,
        "batch_rows": BATCH_ROWS, "with_lines": _RUNS_WITH_LINES, "lines": _LINES, "with_trials": _RUNS_WITH_TRIALS,
        "trials": _TRIALS,
    }  # fmt: skip
    with engine.begin() as connection:
        month = connection.execute(sa.text("SELECT core.prediction_month(now())")).scalar_one()
        dataset = connection.execute(sa.text("SELECT id, last_seq FROM core.dataset WHERE name = 'shop'")).one()
    for what, statements in _STEPS.items():
        tell(what)
        with engine.begin() as connection:
            connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
            for statement in statements.replace("{month}", month).split(";"):
                connection.execute(sa.text(statement), values)
    tell("the rows themselves")
    for first in range(dataset.last_seq + 1, dataset.last_seq + size.rows + 1, _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE - 1, dataset.last_seq + size.rows)
        with engine.begin() as connection:
            connection.execute(sa.text(_ROWS.format(dataset=dataset.id)), {"first": first, "last": last})
    tell("VACUUM ANALYZE")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
