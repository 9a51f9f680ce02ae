"""Two short hands for textual SQL; every value is bound, never pasted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(connection: sa.Connection, statement: str, **values: Any) -> sa.CursorResult[Any]:
    """Execute ``statement`` with its ``:name`` parameters."""
    return connection.execute(sa.text(statement), values)


def as_json(value: Mapping[str, Any]) -> str:
    """Return ``value`` as text for ``CAST(:name AS jsonb)``."""
    return json.dumps(value, allow_nan=False)
