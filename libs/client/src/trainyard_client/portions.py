"""Rows in portions that one request for predictions takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from trainyard_client.errors import ApiError, ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Json = dict[str, Any]

#: limits of one request (docs/api.md), with room for its frame
MOST_ROWS, MOST_EXPLAINED, MOST_BYTES = 1_000, 100, 1_000_000


def portions(rows: Iterable[Json], most: int) -> Iterator[list[Json]]:
    """Yield the rows in lists of at most ``most``, none larger than a request may be.

    Raises:
        ClientError: a row cannot be written as JSON.
    """
    portion: list[Json] = []
    size = 0
    for number, row in enumerate(rows, start=1):
        try:
            more = len(json.dumps(row)) + 2
        except (TypeError, ValueError) as e:
            raise ClientError(f"row {number} cannot be sent as JSON: {e}") from e
        if portion and (len(portion) == most or size + more > MOST_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += more
    if portion:
        yield portion


def counted_on(error: ApiError, before: int) -> ApiError:
    """Return the error with its rows counted on from ``before``, as whoever sent all of them counts."""
    details = [{**d, "row": d["row"] + before} if d.get("row") is not None else d for d in error.details]
    return ApiError(error.status, error.code, error.message, details, error.request_id)
