"""Copies of artifacts in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2

from trainyard.adapters.postgres.sql import run
from trainyard.contracts.copies import Copies, LiveArtifact, StoreLife
from trainyard.policy import KEEP_COPIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

#: One row for each live artifact. A policy that was stored by the release before says nothing about copies.
_LIVE = f"""
    SELECT DISTINCT ON (v.artifact_key) v.artifact_key, v.sha256, v.size_bytes, m.name
    FROM core.model m JOIN LATERAL (
        SELECT w.version, w.artifact_key, w.sha256, w.size_bytes, row_number() OVER (ORDER BY w.version DESC) AS place
        FROM core.version w WHERE w.model_id = m.id) v ON true
    WHERE m.deleted_at IS NULL AND (
        v.place <= coalesce(CAST(m.policy ->> 'keep_copies' AS integer), {KEEP_COPIES})
        OR EXISTS (SELECT FROM core.alias a WHERE a.model_id = m.id AND a.version = v.version)
        OR EXISTS (SELECT FROM core.approval p WHERE p.model_id = m.id AND p.version = v.version
                   AND p.state = 'pending_approval'))
    ORDER BY v.artifact_key"""  # noqa: S608 - of a constant
_KEEP = """
    INSERT INTO core.artifact_copy (artifact_key, sha256, size_bytes, data) VALUES (:key, :sha256, :size, :data)
    ON CONFLICT (artifact_key) DO NOTHING"""


def keep_copy(connection: sa.Connection, key: str, sha256: str, data: bytes | None, *, size: int) -> None:
    """Write a copy, unless there is one; ``data`` None: it lies on the shelf."""
    run(connection, _KEEP, key=key, sha256=sha256, size=size, data=None if data is None else psycopg2.Binary(data))


class PostgresCopies(Copies):
    """``core.artifact_copy``, ``core.store_life`` and what a version says of its artifact."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def live(self) -> list[LiveArtifact]:
        """Return the live artifacts."""
        found = run(
            self._connection,
            "SELECT l.name AS model, l.artifact_key AS key, l.sha256, l.size_bytes AS size,"  # noqa: S608 - of constants
            " CASE WHEN c.artifact_key IS NULL THEN NULL WHEN c.data IS NULL THEN 'shelf' ELSE 'database' END AS copy"
            f" FROM ({_LIVE}) l LEFT JOIN core.artifact_copy c USING (artifact_key) ORDER BY 2",
        )
        return [LiveArtifact(**row) for row in found.mappings()]

    def keep(self, artifact: LiveArtifact, data: bytes | None) -> None:
        """Write the copy."""
        keep_copy(self._connection, artifact.key, artifact.sha256, data, size=artifact.size)

    def data(self, key: str) -> bytes | None:
        """Read the copy."""
        found = run(self._connection, "SELECT data FROM core.artifact_copy WHERE artifact_key = :key", key=key)
        data = found.scalar_one_or_none()
        return None if data is None else bytes(data)

    def surplus(self, limit: int) -> list[str]:
        """Look for copies without a live artifact."""
        found = run(
            self._connection,
            "SELECT c.artifact_key FROM core.artifact_copy c"  # noqa: S608 - of constants
            f" WHERE NOT EXISTS (SELECT FROM ({_LIVE}) l WHERE l.artifact_key = c.artifact_key)"
            " ORDER BY c.copied_at, 1 LIMIT :limit",
            limit=limit,
        )
        return list(found.scalars())

    def drop(self, keys: Sequence[str]) -> None:
        """Delete the copies."""
        run(self._connection, "DELETE FROM core.artifact_copy WHERE artifact_key = ANY(:keys)", keys=list(keys))

    def on_shelf(self) -> frozenset[str]:
        """Return their hashes."""
        return frozenset(run(self._connection, "SELECT sha256 FROM core.artifact_copy WHERE data IS NULL").scalars())

    def stored(self) -> dict[str, bool]:
        """Return the keys of artifacts."""
        found = run(
            self._connection,
            "SELECT v.artifact_key AS key, bool_or(v.lost_at IS NOT NULL) AS lost FROM core.version v"
            " JOIN core.model m ON m.id = v.model_id WHERE m.deleted_at IS NULL GROUP BY 1 ORDER BY 1",
        )
        return {row.key: row.lost for row in found}

    def extracts(self) -> frozenset[str]:
        """Return the keys of extracts."""
        found = run(self._connection, "SELECT DISTINCT extract_key FROM core.version WHERE extract_key IS NOT NULL")
        return frozenset(found.scalars())

    def lose(self, keys: Sequence[str], extracts: Sequence[str]) -> tuple[int, int]:
        """Mark the versions."""
        lost = run(
            self._connection,
            "UPDATE core.version SET lost_at = clock_timestamp() WHERE artifact_key = ANY(:keys) AND lost_at IS NULL",
            keys=list(keys),
        )
        released = run(
            self._connection,
            "UPDATE core.version SET extract_key = NULL WHERE extract_key = ANY(:extracts)",
            extracts=list(extracts),
        )
        return lost.rowcount, released.rowcount

    def find(self, keys: Sequence[str]) -> int:
        """Take the mark away."""
        found = run(
            self._connection,
            "UPDATE core.version SET lost_at = NULL WHERE artifact_key = ANY(:keys) AND lost_at IS NOT NULL",
            keys=list(keys),
        )
        return found.rowcount

    def began(self, *, restored: int, lost: int, lost_extracts: int) -> None:
        """Insert the life."""
        run(
            self._connection,
            "INSERT INTO core.store_life (restored, lost, lost_extracts) VALUES (:restored, :lost, :lost_extracts)",
            restored=restored,
            lost=lost,
            lost_extracts=lost_extracts,
        )

    def lives(self) -> list[StoreLife]:
        """Return the lives."""
        found = run(
            self._connection,
            "SELECT found_at, restored, lost, lost_extracts, id = min(id) OVER () AS first"
            " FROM core.store_life ORDER BY id",
        )
        return [StoreLife(**row) for row in found.mappings()]
