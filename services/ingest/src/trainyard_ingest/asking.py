"""What the views have in common: names and numbers of a request, pages of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.alias_object import is_name
from trainyard.errors import Problem, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.contracts.warehouse import Dataset, Warehouse


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
