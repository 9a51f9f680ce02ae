"""What the views have in common: names and numbers of a request, pages of an answer."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.alias_object import is_name
from trainyard.errors import Problem, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.contracts.warehouse import Dataset, Warehouse

#: 32 bytes in base64, as a byte sequence of a structured header
_SHA256 = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


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


def announced_sha256() -> str | None:
    """Return the SHA-256 in hex that the request's Content-Digest (RFC 9530) gives; None without one that is read."""
    for member in request.headers.get("Content-Digest", "").split(","):
        found = _SHA256.fullmatch(member.strip())
        if found:
            return base64.b64decode(found[1]).hex()
    return None


def bad(message: str) -> ServiceError:
    """Return ``bad_request``."""
    return ServiceError("bad_request", message)


def bad_cursor() -> ServiceError:
    """Return ``bad_request`` for a cursor that no list gave."""
    return ServiceError(
        "bad_request", "cursor is not one that this list gave", [Problem(None, "cursor", "next_cursor of a page", "")]
    )


def is_number(text: str) -> bool:
    """Tell whether it is a whole number of at most nine digits."""
    return text.isascii() and text.isdigit() and len(text) <= 9


def number(cursor: str | None) -> int:
    """Return a cursor that counts; 0 without one.

    Raises:
        ServiceError: ``bad_request``.
    """
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise bad_cursor()
    return int(cursor)


def page(items: Sequence[dict[str, Any]], limit: int, cursor: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    """Return one page of ``items``, of which one more than ``limit`` was asked for."""
    shown = list(items[:limit])
    return {"items": shown, "next_cursor": cursor(shown[-1]) if len(items) > limit else None}
