"""What the views of several services share: a page of a list, and the key of a request that may be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAX_KEY_CHARS = 255


def page(found: Sequence[Any], limit: int, show: Callable[[Any], Any], cursor: Callable[[Any], Any]) -> dict[str, Any]:
    """Return one page of ``found``, of which one more than ``limit`` was asked for."""
    shown = list(found[:limit])
    more = str(cursor(shown[-1])) if len(found) > limit else None
    return {"items": [show(item) for item in shown], "next_cursor": more}


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key, None without one; raises ``ServiceError`` for one that cannot be."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= _MAX_KEY_CHARS and key.isascii() and key.isprintable()):
        raise ServiceError("bad_request", f"Idempotency-Key takes 1 to {_MAX_KEY_CHARS} printable ASCII characters")
    return key
