"""Keeping the house, in Postgres: every statement removes a bounded number of rows, found by an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.adapters.postgres.sql import run
from trainyard.contracts.upkeep import Forgotten, ReleasedExtract, Upkeep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import sqlalchemy as sa

_HAS_A_NEWER = """EXISTS (
                SELECT FROM core.monitor_window n WHERE n.model_id = w.model_id AND n.detector = w.detector
                AND n.version = w.version AND n.number > w.number)"""
_FORGET = {
    # Ids of events rise with time, more or less: the oldest by id are looked at, no more of them than may go.
    "events": """
        DELETE FROM core.event WHERE id IN (
            SELECT id FROM (SELECT id, at FROM core.event ORDER BY id LIMIT :limit) oldest
            WHERE at < clock_timestamp() - make_interval(secs => :seconds)
                  AND (:keep = 0 OR id <= (SELECT id FROM core.event ORDER BY id DESC OFFSET :keep LIMIT 1)))""",
    "messages": """
        DELETE FROM core.outbox WHERE id IN (
            SELECT id FROM core.outbox WHERE sent_at < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY sent_at LIMIT :limit)""",
    "answers": """
        DELETE FROM core.idempotency WHERE ctid IN (
            SELECT ctid FROM core.idempotency
            WHERE created_at < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY created_at LIMIT :limit)""",
    "decisions": """
        DELETE FROM core.decision WHERE id IN (
            SELECT d.id FROM core.model m CROSS JOIN LATERAL (
                SELECT id FROM core.decision WHERE model_id = m.id AND (:keep = 0 OR id <= (
                       SELECT id FROM core.decision WHERE model_id = m.id ORDER BY id DESC OFFSET :keep LIMIT 1))
                       AND last_at < clock_timestamp() - make_interval(secs => :seconds) ORDER BY id LIMIT :limit) d
            LIMIT :limit)""",
    "launches": """
        DELETE FROM core.launch WHERE id IN (
            SELECT id FROM core.launch WHERE state IN ('ended', 'failed')
                   AND created_at < clock_timestamp() - make_interval(secs => :seconds)
                   AND ended_at < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY created_at LIMIT :limit)""",
    "workers": """
        DELETE FROM core.worker WHERE id IN (
            SELECT id FROM core.worker WHERE seen_at < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY seen_at LIMIT :limit)""",
    "alarms": f"""
        DELETE FROM core.alarm WHERE id IN (
            SELECT a.id FROM core.alarm a JOIN core.monitor_window w USING (model_id, detector, window_id)
            WHERE a.settled_at < clock_timestamp() - make_interval(secs => :seconds) AND {_HAS_A_NEWER}
            ORDER BY a.settled_at LIMIT :limit)""",  # noqa: S608 - of constants
    "windows": f"""
        DELETE FROM core.monitor_window WHERE (model_id, detector, window_id) IN (
            SELECT w.model_id, w.detector, w.window_id FROM core.monitor_window w
            WHERE w.closed_at < clock_timestamp() - make_interval(secs => :seconds) AND {_HAS_A_NEWER}
                  AND NOT EXISTS (SELECT FROM core.alarm a WHERE a.model_id = w.model_id
                                  AND a.window_id = w.window_id AND a.detector = w.detector)
            ORDER BY w.closed_at LIMIT :limit)""",  # noqa: S608 - of constants
    "labels": """
        DELETE FROM core.feedback WHERE seq IN (
            SELECT f.seq FROM core.feedback f WHERE f.prediction_id IS NOT NULL
                   AND f.given_at < least((SELECT since FROM core.prediction_kept),
                                          clock_timestamp() - make_interval(secs => :seconds))
                   AND NOT EXISTS (SELECT FROM core.prediction p WHERE p.id = f.prediction_id)
            ORDER BY f.given_at LIMIT :limit)""",
    "lines": """
        DELETE FROM core.run_line WHERE (run_id, number) IN (
            SELECT run_id, number FROM core.run_line WHERE at < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY at LIMIT :limit)""",
    "traffic": """
        DELETE FROM core.traffic WHERE ctid IN (
            SELECT ctid FROM core.traffic WHERE hour < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY hour LIMIT :limit)""",
    "shadows": """
        DELETE FROM core.shadow WHERE seq IN (
            SELECT seq FROM (SELECT seq, logged_at FROM core.shadow ORDER BY seq LIMIT :limit) oldest
            WHERE logged_at < clock_timestamp() - make_interval(secs => :seconds))""",
}

#: Who removes rows marks versions in an order of its own: it is not waited for, so that neither waits for the other.
_RELEASE = """
    WITH released AS (
        SELECT v.model_id, v.version, v.extract_key AS key, m.name FROM core.version v
        JOIN core.model m ON m.id = v.model_id JOIN core.dataset d ON d.id = m.dataset_id
        WHERE v.extract_key IS NOT NULL AND (v.not_reproducible IS NOT NULL OR d.deleted_at IS NOT NULL)
        ORDER BY v.model_id, v.version LIMIT :limit FOR NO KEY UPDATE OF v SKIP LOCKED),
    changed AS (
        UPDATE core.version v SET extract_key = NULL FROM released r
        WHERE v.model_id = r.model_id AND v.version = r.version)
    SELECT name, version, key FROM released ORDER BY model_id, version"""


class PostgresUpkeep(Upkeep):
    """Everything of ``core`` that is not kept for ever."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def now(self) -> datetime:
        """Return the time."""
        time: datetime = run(self._connection, "SELECT clock_timestamp()").scalar_one()
        return time

    def forget(self, kind: str, *, older_than_seconds: float, keep_newest: int, limit: int) -> int:
        """Delete one batch."""
        return run(self._connection, _FORGET[kind], seconds=older_than_seconds, keep=keep_newest, limit=limit).rowcount

    def forget_predictions(self, *, older_than_seconds: float, limit: int) -> Forgotten:
        """Let the database drop the month's table."""
        done = run(
            self._connection,
            "SELECT month, rows FROM core.forget_predictions(make_interval(secs => :seconds), :limit)",
            seconds=older_than_seconds,
            limit=limit,
        ).one()
        return Forgotten(done.month, done.rows)

    def release_extracts(self, *, limit: int) -> list[ReleasedExtract]:
        """Clear ``extract_key``."""
        released = run(self._connection, _RELEASE, limit=limit)
        return [ReleasedExtract(row.name, row.version, row.key) for row in released]

    def unreferenced(self, keys: Sequence[str]) -> list[str]:
        """Look the keys up among all versions, deleted models' included."""
        found = run(
            self._connection,
            "SELECT k.key FROM unnest(CAST(:keys AS text[])) WITH ORDINALITY k (key, place)"
            " WHERE NOT EXISTS (SELECT FROM core.version v WHERE v.artifact_key = k.key)"
            " AND NOT EXISTS (SELECT FROM core.version v WHERE v.extract_key = k.key) ORDER BY k.place",
            keys=list(keys),
        )
        return list(found.scalars())

    def still(self, model: str) -> bool:
        """Lock the rows of that name against new requests and versions, which refer to them, then look."""
        run(self._connection, "SELECT id FROM core.model WHERE name = :name ORDER BY id FOR UPDATE", name=model)
        opened: bool = run(
            self._connection,
            "SELECT EXISTS (SELECT FROM core.training_request r JOIN core.model m ON m.id = r.model_id"
            " WHERE m.name = :name AND r.state IN ('queued', 'running'))",
            name=model,
        ).scalar_one()
        return not opened
