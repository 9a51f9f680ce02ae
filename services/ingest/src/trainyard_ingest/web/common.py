"""What ingest's routes share: names and cursors of a request, and what it is told again by."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from trainyard.adapters.web import principal, read_body
from trainyard.adapters.web_views import idempotency_key
from trainyard.alias_object import is_name
from trainyard.contracts.idempotency import Repeatable
from trainyard.errors import Problem, ServiceError

if TYPE_CHECKING:
    from trainyard.contracts.warehouse import Dataset, Warehouse

#: The headers of a route whose request may be repeated.
ONCE = ("Idempotency-Key",)


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


def repeatable(route: str) -> Repeatable | None:
    """Return what this request to ``route`` is told again by, None without an Idempotency-Key."""
    key = idempotency_key()
    if key is None:
        return None
    return Repeatable(route, principal().key_id, key, hashlib.sha256(read_body()).hexdigest())
