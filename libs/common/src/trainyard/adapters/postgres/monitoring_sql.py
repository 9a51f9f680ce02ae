"""The statements of :mod:`trainyard.adapters.postgres.monitoring`; every value is bound where they are run."""

from __future__ import annotations

ALARM = (
    "SELECT id, detector, window_id, reason, numbers, raised_at, request_id::text, outcome FROM core.alarm"
    " WHERE model_id = :model_id"
)
NEWEST_ALARMS = f"{ALARM} ORDER BY id DESC LIMIT :limit"
WINDOW = """
    SELECT w.window_id, w.version, w.number, w.cut, w.after_seq, w.last_seq, w.began_at, w.ended_at, w.rows,
           w.detector, w.outcome, w.report, w.closed_at
    FROM core.monitor_window w WHERE w.model_id = :model_id AND w.detector = :detector"""
NEWEST = "ORDER BY w.closed_at DESC, w.number DESC"
NEWEST_WINDOWS = f"{WINDOW} {NEWEST} LIMIT :limit"
SIGHTS = """
    SELECT m.name AS model,
           coalesce((SELECT max(p.seq) FROM core.prediction p WHERE p.model = m.name), 0) AS predictions,
           given.upto > coalesce(k.feedback_seq, 0) OR EXISTS (
               SELECT FROM core.monitor_window w WHERE w.model_id = m.id AND w.due_at <= clock_timestamp()) AS waiting
    FROM core.model m JOIN core.alias a ON a.model_id = m.id AND a.name = 'champion'
    LEFT JOIN core.monitor_mark k ON k.model_id = m.id
    CROSS JOIN (SELECT coalesce(max(seq), 0) AS upto FROM core.feedback) given
    WHERE m.deleted_at IS NULL ORDER BY m.name"""
NEXT_ROWS = """
    SELECT max(seq) AS last_seq, min(predicted_at) AS began, max(predicted_at) AS ended, count(*) AS rows
    FROM (SELECT seq, predicted_at FROM core.model_prediction
          WHERE model_id = :model_id AND version = :version AND seq > :after ORDER BY seq LIMIT :rows) next"""
NEXT_TIME = """
    SELECT to_timestamp(place * :seconds) AS began, to_timestamp((place + 1) * :seconds) AS ended
    FROM (SELECT floor(extract(epoch FROM min(predicted_at)) / :seconds) AS place FROM core.model_prediction
          WHERE model_id = :model_id AND version = :version
          AND predicted_at >= coalesce(CAST(:behind AS timestamptz), '-infinity')) next
    WHERE to_timestamp((place + 1) * :seconds) <= clock_timestamp() - make_interval(secs => :late)"""
IN_TIME = """
    SELECT min(seq) AS first_seq, max(seq) AS last_seq, count(*) AS rows FROM core.model_prediction
    WHERE model_id = :model_id AND version = :version AND predicted_at >= :began AND predicted_at < :ended"""
# The predictions of a span. The cut is a constant to the planner, so it follows the index that fits.
MEMBERS = """
    SELECT seq, id, inputs, output, predicted_at FROM core.model_prediction
    WHERE model_id = :model_id AND version = :version
    AND (:cut = 'rows' AND seq > :after_seq AND seq <= :last_seq
         OR :cut = 'time' AND predicted_at >= :began_at AND predicted_at < :ended_at)"""
# An even choice, see trainyard.contracts.monitoring.choice; the first modulus keeps the product within a bigint.
CHOSEN = "seq % 2147483648 * 2654435761 % 4294967296 < :below"
# The newest predictions behind a window, by the index that its cut follows. The bound is inside: predictions that an
# earlier model of the name has logged count towards it before they are left out.
UNWATCHED = """
    SELECT newest.predicted_at AS at, newest.output, f.label IS NOT NULL AS has_label, f.label
    FROM core.model m CROSS JOIN LATERAL (
        SELECT id, seq, predicted_at, logged_at, output FROM core.prediction p
        WHERE p.model = m.name AND p.version = :version AND {behind} LIMIT :most) newest
    LEFT JOIN LATERAL (SELECT label FROM core.feedback WHERE prediction_id = newest.id
                       ORDER BY seq DESC LIMIT 1) f ON true
    WHERE m.id = :model_id AND newest.logged_at >= m.created_at ORDER BY newest.seq"""
BEHIND = {
    "rows": "p.seq > :last_seq ORDER BY p.seq DESC",
    "time": "p.predicted_at >= :ended_at ORDER BY p.predicted_at DESC",
}
# One look into the index for each version, however many predictions it has.
ANSWERING = """
    WITH RECURSIVE known AS (
        (SELECT p.model, p.version FROM core.prediction p
         WHERE p.model = (SELECT name FROM core.model WHERE id = :model_id) ORDER BY p.version DESC LIMIT 1)
        UNION ALL
        SELECT known.model, (SELECT p.version FROM core.prediction p WHERE p.model = known.model
                             AND p.version < known.version ORDER BY p.version DESC LIMIT 1)
        FROM known WHERE known.version IS NOT NULL)
    SELECT version FROM known WHERE version IS NOT NULL LIMIT :limit"""
GIVEN = """
    WITH given AS MATERIALIZED (
        SELECT DISTINCT p.version, p.seq, p.predicted_at
        FROM core.feedback f JOIN core.model_prediction p ON p.id = f.prediction_id
        WHERE p.model_id = :model_id AND f.seq > :after AND f.seq <= :upto)"""
LABELLED = """
    AND EXISTS (
        SELECT FROM given p WHERE p.version = w.version
        AND CASE w.cut WHEN 'rows' THEN p.seq > w.after_seq AND p.seq <= w.last_seq
            ELSE p.predicted_at >= w.began_at AND p.predicted_at < w.ended_at END)
    ORDER BY w.version, w.number"""
# Of the places of a latency the middle is told.
TRAFFIC = """
    SELECT t.hour AS at, t.version,
           CASE WHEN t.latency >= 0 THEN CAST(power(1.1, t.latency - 0.5) AS float8) END AS latency_us, t.predictions
    FROM core.model m JOIN core.traffic t ON t.model = m.name
    WHERE m.id = :model_id AND t.hour >= date_trunc('hour', m.created_at, 'UTC')
    AND t.hour > date_trunc('hour', clock_timestamp(), 'UTC') - make_interval(hours => :hours)
    ORDER BY t.hour, t.version, t.latency"""
SHADOWS = """
    SELECT version, shadow_version, count(*) AS rows, avg(difference) AS mean_difference,
           avg(abs(difference)) AS mean_absolute_difference, avg(changed::int)::double precision AS changed,
           min(scored_at) AS first_at, max(scored_at) AS last_at
    FROM (SELECT * FROM core.shadow WHERE model = (SELECT name FROM core.model WHERE id = :model_id)
          ORDER BY seq DESC LIMIT :most) newest
    GROUP BY version, shadow_version ORDER BY version DESC, shadow_version DESC"""
