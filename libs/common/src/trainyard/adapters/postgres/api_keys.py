"""API keys in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres.sql import run
from trainyard.auth import LiveKey
from trainyard.contracts.api_keys import ApiKeys, KeyRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from trainyard.auth import ParsedKey

_KEY = "SELECT id, name, scopes, created_at, expires_at, revoked_at FROM core.api_key"


class PostgresApiKeys(ApiKeys):
    """``core.api_key``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(
        self, key: ParsedKey, *, name: str, scopes: Sequence[str], expires_in_days: int | None = None
    ) -> KeyRecord | None:
        """Insert the key."""
        added = run(
            self._connection,
            "INSERT INTO core.api_key (id, name, secret_sha256, scopes, expires_at) VALUES (:id, :name, :sha256,"
            " :scopes, now() + make_interval(days => CAST(:days AS integer))) ON CONFLICT (id) DO NOTHING",
            id=key.key_id,
            name=name,
            sha256=key.secret_sha256,
            scopes=list(scopes),
            days=expires_in_days,
        )
        return self.get(key.key_id) if added.rowcount else None

    def get(self, key_id: str) -> KeyRecord | None:
        """Return one key."""
        row = run(self._connection, f"{_KEY} WHERE id = :id", id=key_id).one_or_none()
        return None if row is None else _record(row)

    def page(self, limit: int, after: str | None) -> list[KeyRecord]:
        """Return keys by id."""
        found = run(
            self._connection, f"{_KEY} WHERE id > :after ORDER BY id LIMIT :limit", after=after or "", limit=limit
        )
        return [_record(row) for row in found]

    def revoke(self, key_id: str) -> None:
        """Revoke the key, once."""
        run(
            self._connection,
            "UPDATE core.api_key SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL",
            id=key_id,
        )

    def live(self) -> list[LiveKey]:
        """Return what is in force now."""
        found = run(
            self._connection,
            "SELECT id, secret_sha256, scopes, expires_at FROM core.api_key"
            " WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp()) ORDER BY id",
        )
        return [LiveKey(row.id, bytes(row.secret_sha256), tuple(row.scopes), row.expires_at) for row in found]


def _record(row: Any) -> KeyRecord:
    return KeyRecord(row.id, row.name, tuple(row.scopes), row.created_at, row.expires_at, row.revoked_at)
