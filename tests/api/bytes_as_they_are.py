"""How generated files are sent."""

from __future__ import annotations

from typing import Any


def as_it_is(_context: Any, value: Any) -> bytes:
    """Return a generated file as the bytes that it is, and what a schema violation made of it as text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
