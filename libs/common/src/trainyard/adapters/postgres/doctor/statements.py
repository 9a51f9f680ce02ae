"""The questions, as SQL."""

#: What each open request waits for, and whether nothing will come of it. The reconciler sends at first after twice the
#: lease, then ever more seldom, after an hour at the latest.
OPEN = """
    SELECT request_id, model, state, waits_for, stuck FROM (
        SELECT r.id::text AS request_id, m.name AS model, r.state, r.created_at, r.id,
               CASE WHEN r.live AND r.cancel_requested THEN 'its trainer is about to give it up'
                    WHEN r.live THEN 'a trainer works on it'
                    WHEN r.last_sent_at IS NULL THEN 'its message was never sent'
                    WHEN r.state = 'running' AND r.last_sent_at < r.lease_until
                        THEN 'its trainer vanished and it was not sent again'
                    WHEN r.last_sent_at < clock_timestamp() - interval '65 minutes' THEN 'it was not sent for an hour'
                    WHEN r.attempt = 0 AND r.send_count > 5
                        THEN 'it was sent ' || r.send_count || ' times and no trainer took it'
                    WHEN r.attempt > 0 THEN 'it waits for a trainer to try again'
                    ELSE 'it waits for a trainer' END AS waits_for,
               NOT r.live AND ((r.last_sent_at IS NULL AND r.created_at < clock_timestamp() - interval '1 minute')
                   OR (r.state = 'running' AND r.lease_until < clock_timestamp() - interval '1 minute'
                       AND r.last_sent_at < r.lease_until)
                   OR r.last_sent_at < clock_timestamp() - interval '65 minutes'
                   OR (r.attempt = 0 AND r.send_count > 5)) IS TRUE AS stuck
        FROM (SELECT *, state = 'running' AND coalesce(lease_until >= clock_timestamp(), false) AS live
              FROM core.training_request WHERE state IN ('queued', 'running')) r
        JOIN core.model m ON m.id = r.model_id) o
    ORDER BY created_at, id"""

VERSIONS = """
    SELECT * FROM (
        SELECT m.name AS model, v.version, v.request_id::text, v.fence, r.fence AS winner_fence,
               r.state AS request_state, v.holdout
        FROM core.version v JOIN core.model m ON m.id = v.model_id JOIN core.training_request r ON r.id = v.request_id
        WHERE m.deleted_at IS NULL ORDER BY v.created_at DESC, v.version DESC LIMIT :most) n
    ORDER BY model, version"""
VERSION_COUNT = """
    SELECT count(*) FROM core.version v JOIN core.model m ON m.id = v.model_id WHERE m.deleted_at IS NULL"""
MISCOUNTED = """
    SELECT 'request ' || request_id || ' has ' || count(*) || ' versions'
    FROM core.version WHERE request_id IS NOT NULL GROUP BY request_id HAVING count(*) > 1
    UNION ALL
    SELECT 'request ' || r.id || ' of model ' || m.name || ' is done and has no version'
    FROM core.training_request r JOIN core.model m ON m.id = r.model_id
    WHERE r.state = 'done' AND r.reproduces IS NULL
          AND NOT EXISTS (SELECT FROM core.version v WHERE v.request_id = r.id)"""

REQUESTS_OPEN = """
    SELECT id::text AS id, state IN ('queued', 'running') AS open
    FROM core.training_request WHERE id = ANY(CAST(:ids AS uuid[]))"""

ALIAS_AGES = """
    SELECT m.name AS model, a.name AS alias,
           CAST(extract(epoch FROM clock_timestamp() - a.updated_at) AS float8) AS seconds
    FROM core.alias a JOIN core.model m ON m.id = a.model_id WHERE m.deleted_at IS NULL"""

WAITING = """
    SELECT queue, count(*) AS waiting, CAST(extract(epoch FROM clock_timestamp() - min(created_at)) AS float8) AS oldest
    FROM core.outbox WHERE sent_at IS NULL GROUP BY queue"""
#: When each queue's work last left a trace.
QUIET = """
    SELECT queue, CAST(extract(epoch FROM clock_timestamp() - max(at)) AS float8) AS seconds FROM (
        SELECT queue, sent_at AS at FROM core.outbox WHERE sent_at > clock_timestamp() - interval '1 hour'
        UNION ALL SELECT 'training', finished_at FROM core.training_request
        WHERE finished_at > clock_timestamp() - interval '1 hour'
        UNION ALL (SELECT 'predictions', logged_at FROM core.prediction ORDER BY seq DESC LIMIT 1)
        UNION ALL SELECT 'objects', created_at FROM core.batch
        WHERE source = 'landing' AND created_at > clock_timestamp() - interval '1 hour') t
    WHERE at IS NOT NULL GROUP BY queue"""

DOUBLED = """
    SELECT id FROM (SELECT id FROM core.prediction ORDER BY seq DESC LIMIT :most) p
    GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 100"""
STRANGERS = """
    SELECT p.model, p.version, count(*) AS n
    FROM (SELECT model, version FROM core.prediction ORDER BY seq DESC LIMIT :most) p
    GROUP BY p.model, p.version
    HAVING NOT EXISTS (SELECT FROM core.version v JOIN core.model m ON m.id = v.model_id
                       WHERE m.name = p.model AND v.version = p.version)
    ORDER BY 1, 2"""
#: The current label of a prediction is the one with the highest seq; there are two when seq is not unique.
RELABELLED = """
    SELECT DISTINCT prediction_id FROM (
        SELECT prediction_id, seq, max(seq) OVER (PARTITION BY prediction_id) AS highest, count(*) OVER (
               PARTITION BY prediction_id, seq) AS n
        FROM (SELECT prediction_id, seq FROM core.feedback ORDER BY seq DESC LIMIT :most) f
        WHERE prediction_id IS NOT NULL) g
    WHERE seq = highest AND n > 1 ORDER BY 1 LIMIT 100"""
PARKED = """
    SELECT count(*) AS n, CAST(coalesce(extract(epoch FROM clock_timestamp() - min(given_at)), 0) AS float8) AS oldest
    FROM (SELECT prediction_id, given_at FROM core.feedback ORDER BY seq DESC LIMIT :most) f
    WHERE prediction_id IS NOT NULL AND NOT EXISTS (SELECT FROM core.prediction p WHERE p.id = f.prediction_id)"""

#: Sessions of this database that hold something up: inside a transaction without doing anything, or on an advisory
#: lock without being at work; and locks of prepared transactions, which no session holds.
SESSIONS = """
    SELECT a.pid, a.application_name AS application, 'has been idle inside a transaction' AS what,
           CAST(extract(epoch FROM clock_timestamp() - a.state_change) AS float8) AS seconds
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.state LIKE 'idle in transaction%'
          AND a.state_change < clock_timestamp() - make_interval(secs => :idle)
    UNION ALL
    SELECT a.pid, a.application_name, 'has held an advisory lock and done nothing',
           CAST(extract(epoch FROM clock_timestamp() - a.state_change) AS float8)
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.state = 'idle'
          AND a.state_change < clock_timestamp() - make_interval(secs => :idle)
          AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.granted)
    UNION ALL
    SELECT NULL, p.owner, 'called ' || p.gid || ' has waited for its end',
           CAST(extract(epoch FROM clock_timestamp() - p.prepared) AS float8)
    FROM pg_prepared_xacts p
    WHERE p.database = current_database() AND p.prepared < clock_timestamp() - make_interval(secs => :idle)
    ORDER BY 4 DESC LIMIT 100"""
LEFT_RUNS = """
    SELECT u.id::text AS run_id, u.request_id::text,
           CASE WHEN u.fence <> r.fence THEN 'in another run' ELSE r.state END AS request_state
    FROM core.run u JOIN core.training_request r ON r.id = u.request_id
    WHERE u.state = 'running' AND (r.state <> 'running' OR u.fence <> r.fence)
    ORDER BY u.started_at LIMIT 100"""
LAUNCHES = """
    SELECT id::text, state, instance_id,
           CAST(extract(epoch FROM clock_timestamp() - coalesce(ended_at, launched_at, created_at)) AS float8) AS age
    FROM core.launch WHERE state IN ('asked', 'launched') OR id::text = ANY(:ids)"""
WORKERS = """
    SELECT id, instance_id, state, CAST(extract(epoch FROM clock_timestamp() - seen_at) AS float8) AS silent
    FROM core.worker"""
