"""What ingest's routes share: names and cursors of a request, pages of an answer, and what a key may repeat."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.adapters.web import principal, read_body
from trainyard.alias_object import is_name
from trainyard.contracts.idempotency import Repeatable
from trainyard.errors import Problem, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.contracts.warehouse import Dataset, Warehouse

#: The headers of a route whose request may be repeated.
ONCE = ("Idempotency-Key",)
_MAX_KEY_CHARS = 255


def named(warehouse: Warehouse, name: str) -> Dataset:
    """Return the dataset of that name, which may be any text.

    Raises:
        ServiceError: ``unknown_dataset``.
    """
    if not is_name(name):
        raise ServiceError(
            "unknown_dataset", "no dataset can bear that name: a-z, 0-9 and _, at most 48, a letter first"
        )
    return warehouse.dataset(name)


def bad(message: str) -> ServiceError:
    """Return ``bad_request``."""
    return ServiceError("bad_request", message)


def bad_cursor() -> ServiceError:
    """Return ``bad_request`` for a cursor that no list gave."""
    return ServiceError(
        "bad_request", "cursor is not one that this list gave", [Problem(None, "cursor", "next_cursor of a page", "")]
    )


def name_cursor(cursor: str | None) -> str | None:
    """Return the cursor of a list that is ordered by names; raises ``ServiceError``."""
    if cursor is not None and not is_name(cursor):
        raise bad_cursor()
    return cursor


def number_cursor(cursor: str | None) -> int:
    """Return the cursor of a list that is ordered by numbers, 0 without one; raises ``ServiceError``."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise bad_cursor()
    return int(cursor)


def page(found: Sequence[Any], limit: int, show: Callable[[Any], Any], cursor: Callable[[Any], Any]) -> dict[str, Any]:
    """Return one page of ``found``, of which one more than ``limit`` was asked for."""
    shown = list(found[:limit])
    more = str(cursor(shown[-1])) if len(found) > limit else None
    return {"items": [show(item) for item in shown], "next_cursor": more}


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key; raises ``ServiceError`` for one that cannot be."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= _MAX_KEY_CHARS and key.isprintable()):
        raise bad(f"Idempotency-Key takes 1 to {_MAX_KEY_CHARS} printable characters")
    return key


def repeatable(route: str) -> Repeatable | None:
    """Return what this request to ``route`` is told again by, None without an Idempotency-Key."""
    key = idempotency_key()
    if key is None:
        return None
    return Repeatable(route, principal().key_id, key, hashlib.sha256(read_body()).hexdigest())
