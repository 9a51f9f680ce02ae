"""Short hands for textual SQL; every value is bound, never pasted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Mapping

#: An expression of a statement whose transaction shall not wait for the disk at COMMIT. A crash of the server may then
#: take back its last moments, never half of it: for what is only repeated or counted, not for what anybody builds on.
UNHURRIED = "set_config('synchronous_commit', 'off', true)"


def run(connection: sa.Connection, statement: str, **values: Any) -> sa.CursorResult[Any]:
    """Execute ``statement`` with its ``:name`` parameters."""
    return connection.execute(sa.text(statement), values)


def as_json(value: Mapping[str, Any]) -> str:
    """Return ``value`` as text for ``CAST(:name AS jsonb)``."""
    return json.dumps(value, allow_nan=False)
