"""The statements of :mod:`trainyard.adapters.postgres.requests`; every value is bound where they are run."""

from __future__ import annotations

DECISION = (
    "SELECT id, fired, reason, numbers, request_id::text, at, times, last_at FROM core.decision"
    " WHERE model_id = :model_id"
)
NEWEST_DECISIONS = f"{DECISION} ORDER BY id DESC LIMIT :limit"
_TIMES = "r.created_at, r.started_at, r.finished_at"
REQUEST = """
    SELECT r.id::text, m.name AS model, r.reason, r.state, r.upto_seq, r.new_rows,
           core.with_kinds(r.settings) AS settings,
           r.priority, r.instance_types, r.spot, r.attempt,
           r.cancel_requested, r.error_class, r.error,
           CASE WHEN r.state <> 'done' THEN r.error
                WHEN r.reproduces IS NULL THEN 'version ' || v.version || ' came of it'
                ELSE (SELECT u.reproduction ->> 'words' FROM core.run u WHERE u.request_id = r.id AND u.fence = r.fence)
                END AS outcome,
           v.version, r.created_at, r.started_at, r.finished_at, r.reproduces
    FROM core.training_request r JOIN core.model m ON m.id = r.model_id
    LEFT JOIN core.version v ON v.request_id = r.id"""
RUN = """
    SELECT u.id::text, u.request_id::text, m.name AS model, u.attempt, u.state, u.worker, u.instance_id, u.progress,
           u.started_at, u.ended_at, u.error_class, u.error, v.version, u.instance_type, u.cost_usd,
           coalesce(r.settings ->> 'metric', 'auto') AS metric, coalesce(v.holdout -> 'left_out', '[]') AS left_out,
           u.environment, u.reproduction
    FROM core.run u JOIN core.training_request r ON r.id = u.request_id JOIN core.model m ON m.id = r.model_id
    LEFT JOIN core.version v ON v.run_id = u.id"""

OPEN = """
    SELECT r.id::text, r.state, u.instance_id, r.send_count,
           r.state = 'running' AND coalesce(r.lease_until >= clock_timestamp(), false) AS lease_live,
           CAST(extract(epoch FROM clock_timestamp() - r.last_sent_at) AS float8) AS sent_ago,
           CAST(extract(epoch FROM r.last_sent_at) AS float8) AS sent_at,
           CAST(extract(epoch FROM clock_timestamp() - r.lease_until) AS float8) AS lease_ended_ago,
           CAST(extract(epoch FROM clock_timestamp() - r.created_at) AS float8) AS waited,
           r.priority, r.instance_types, r.spot, r.attempt, r.cancel_requested, coalesce(u.invites, 0) AS invites,
           CASE WHEN u.invites > 0 AND r.state = 'running' AND r.lease_until >= clock_timestamp()
                     AND NOT r.cancel_requested
                THEN CAST(greatest(0, extract(epoch FROM u.search_until - clock_timestamp())) AS float8)
                ELSE CAST(0 AS float8) END AS search_left,
           ARRAY(SELECT s.instance_id FROM core.search_seat s
                 WHERE s.run_id = u.id AND s.seated_until > clock_timestamp() AND u.invites > 0) AS helpers
    FROM core.training_request r LEFT JOIN core.run u ON u.request_id = r.id AND u.fence = r.fence
    WHERE r.state IN ('queued', 'running')"""
STANDING = """
    SELECT clock_timestamp() AS now, m.cron_upto,
           coalesce((SELECT d.last_seq FROM core.dataset d WHERE d.id = m.dataset_id AND d.deleted_at IS NULL), 0)
               AS last_seq,
           coalesce((SELECT r.upto_seq FROM core.training_request r WHERE r.model_id = m.id AND r.state = ANY(:counted)
                     AND r.reproduces IS NULL
                     ORDER BY r.upto_seq DESC LIMIT 1), 0) AS used_seq,
           (SELECT v.snapshot_rows FROM core.version v WHERE v.model_id = m.id AND v.request_id IS NOT NULL
            ORDER BY v.upto_seq DESC, v.version DESC LIMIT 1) AS trained_rows,
           coalesce(c.created_at, m.created_at) AS counted_at,
           (SELECT max(r.created_at) FROM core.training_request r WHERE r.model_id = m.id AND r.requested_by = :policy)
               AS asked_at,
           -- OFFSET 0: gather the few open ones of the model first, then look for the newest; never walk all by age.
           (SELECT o.id::text FROM (SELECT r.id, r.created_at FROM core.training_request r
             WHERE r.model_id = m.id AND r.state IN ('queued', 'running') AND r.reproduces IS NULL OFFSET 0) o
            ORDER BY o.created_at DESC, o.id DESC LIMIT 1) AS open_request,
           f.state AS refused_state, f.upto_seq AS refused_seq, f.finished_at AS refused_at,
           (SELECT count(*) FROM core.training_request r WHERE r.model_id = m.id AND r.state IN ('failed', 'cancelled')
            AND r.reproduces IS NULL AND r.created_at > coalesce(c.created_at, '-infinity')) AS in_a_row
    FROM core.model m
    LEFT JOIN LATERAL (SELECT r.created_at FROM core.training_request r
                       WHERE r.model_id = m.id AND r.state IN ('done', 'blocked_by_data') AND r.reproduces IS NULL
                       ORDER BY r.created_at DESC, r.id DESC LIMIT 1) c ON true
    LEFT JOIN LATERAL (SELECT r.state, r.upto_seq, r.finished_at FROM core.training_request r
                       WHERE r.model_id = m.id AND r.state IN ('failed', 'cancelled') AND r.reproduces IS NULL
                       ORDER BY r.upto_seq DESC, r.created_at DESC LIMIT 1) f ON true
    WHERE m.id = :model_id"""
NEW_LABELS = """
    SELECT count(DISTINCT f.prediction_id) FROM core.feedback f JOIN core.prediction p ON p.id = f.prediction_id
    WHERE p.model = (SELECT name FROM core.model WHERE id = :model_id)
      AND f.seq > coalesce((SELECT r.label_seq FROM core.training_request r
                            WHERE r.model_id = :model_id AND r.state = ANY(:counted) AND r.reproduces IS NULL
                            ORDER BY r.created_at DESC, r.id DESC LIMIT 1), 0)"""
#: "Waiting" is whom nobody holds. The mean is over the model's last 20 trainings, or over the last 20 of all models.
POSITION = """
    WITH one AS (SELECT model_id, created_at, holder, lease_until, send_count, last_sent_at
                 FROM core.training_request WHERE id = CAST(:id AS uuid)),
    opened AS (SELECT r.state = 'running' AND coalesce(r.lease_until >= clock_timestamp(), false) AS live
               FROM core.training_request r WHERE r.state IN ('queued', 'running'))
    SELECT CAST(extract(epoch FROM clock_timestamp() - one.created_at) AS float8) AS waited,
           (SELECT count(*) FROM opened o WHERE NOT o.live) AS waiting,
           (SELECT count(*) FROM opened o WHERE o.live) AS running,
           one.holder, one.send_count,
           CAST(extract(epoch FROM one.lease_until - clock_timestamp()) AS float8) AS lease_left,
           CAST(extract(epoch FROM clock_timestamp() - one.last_sent_at) AS float8) AS sent_ago,
           EXISTS (SELECT FROM core.outbox o WHERE o.sent_at IS NULL AND o.queue = 'training' AND o.body = :body)
               AS unsent,
           CAST(coalesce((SELECT avg(t.seconds) FROM (
                    SELECT extract(epoch FROM u.ended_at - u.started_at) AS seconds
                    FROM core.run u JOIN core.training_request r ON r.id = u.request_id
                    WHERE r.model_id = one.model_id AND u.state = 'done' AND r.reproduces IS NULL
                    ORDER BY u.started_at DESC LIMIT 20) t),
                (SELECT avg(t.seconds) FROM (
                    SELECT extract(epoch FROM u.ended_at - u.started_at) AS seconds FROM core.run u
                    WHERE u.state = 'done' AND u.reproduction IS NULL
                    ORDER BY u.started_at DESC LIMIT 20) t)) AS float8) AS mean_seconds
    FROM one"""

_BEHIND = """
    WHERE (CAST(:model_id AS bigint) IS NULL OR r.model_id = :model_id)
          AND (CAST(:state AS text) IS NULL OR r.state = :state)
          AND (CAST(:before AS uuid) IS NULL OR (r.created_at, r.id) <
               (SELECT b.created_at, b.id FROM core.training_request b WHERE b.id = CAST(:before AS uuid)))
    ORDER BY r.created_at DESC, r.id DESC LIMIT :limit"""
PAGE = REQUEST + _BEHIND
RUNS_BEHIND = """
    WHERE m.deleted_at IS NULL {of_model} AND (CAST(:before AS uuid) IS NULL OR (u.started_at, u.id) <
               (SELECT b.started_at, b.id FROM core.run b WHERE b.id = CAST(:before AS uuid)))
    ORDER BY u.started_at DESC, u.id DESC LIMIT :limit"""
#: The page's columns as one JSON object each, with times as Python writes them (microseconds, never fewer digits).
_ISO = ", ".join(
    f"""to_char({column}, 'YYYY-MM-DD"T"HH24\\:MI\\:SS.US"+00\\:00"') AS {column.partition(".")[2]}"""
    for column in _TIMES.split(", ")
)
PAGE_TEXTS = f"""
    SELECT q.id, row_to_json(q)::text AS text FROM ({PAGE.replace(_TIMES, _ISO, 1)}) q"""  # noqa: S608 - constants only
