"""What every area of the SDK calls with: one request, and a list page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from trainyard_client.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.clock import Clock
    from trainyard_client.functions import Predictors
    from trainyard_client.transport import Transport

    Json = dict[str, Any]

PAGE = 1000


class Calls:
    """One address and one key; the areas inherit from it."""

    def __init__(self, transport: Transport, clock: Clock, predictors: Predictors) -> None:
        self._transport = transport
        self._predictors = predictors
        self._clock = clock

    def _sent(self, method: str, path: str, **arguments: Any) -> Json:
        answer: Json = self._transport.send(method, path, **arguments)
        return answer

    def _get(self, path: str, params: Json | None = None) -> Json:
        return self._sent("GET", path, params=params)

    def _put(self, path: str, body: Json) -> Json:
        return self._sent("PUT", path, json=body)

    def _post(self, path: str, body: Json) -> Json:
        return self._sent("POST", path, json=body)

    def page(self, path: str, *, limit: int) -> list[Json]:
        """Return the first ``limit`` items of the list at a path of docs/api.md, for those who need no more."""
        found: list[Json] = self._get(path, {"limit": limit})["items"]
        return found

    def _items(self, path: str, params: Json | None = None, *, page_size: int = PAGE) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            page = self._get(path, {**(params or {}), "limit": page_size, **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def in_path(text: str) -> str:
    """Return a name as one segment of a path.

    Raises:
        MisuseError: it would name another route.
    """
    if text in {"", ".", ".."}:
        raise MisuseError(f"{text!r} is not a name")
    return quote(text, safe="", errors="replace")
