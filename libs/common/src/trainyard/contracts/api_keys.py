"""API keys in the database; what is published of them is in :mod:`trainyard.auth`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trainyard.auth import LiveKey, ParsedKey


@dataclass(frozen=True)
class KeyRecord:
    """A key without its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class ApiKeys(Protocol):
    """The keys inside one transaction."""

    def add(
        self, key: ParsedKey, *, name: str, scopes: Sequence[str], expires_in_days: int | None = None
    ) -> KeyRecord | None:
        """Register a key; None when its id is registered already (nothing is changed then)."""
        ...

    def get(self, key_id: str) -> KeyRecord | None:
        """Return one key."""
        ...

    def page(self, limit: int, after: str | None) -> list[KeyRecord]:
        """Return keys by id, from behind ``after``, revoked and expired ones included."""
        ...

    def revoke(self, key_id: str) -> None:
        """Revoke the key; revoking twice changes nothing."""
        ...

    def live(self) -> list[LiveKey]:
        """Return every key that is neither revoked nor expired."""
        ...
