"""Which paths there are, what each of them needs, and who answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard_predictor.exchange import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trainyard.errors import ServiceError
    from trainyard_predictor.exchange import Request, Response


@dataclass(frozen=True)
class Call:
    """A request that may be answered. ``names`` are the segments that the path's braces stand for.

    ``key_id`` is the API key's; None where the route needs none.
    """

    request: Request
    names: Mapping[str, str]
    trace_id: str
    key_id: str | None = None


@dataclass(frozen=True)
class Route:
    """One path and the one method it takes.

    Attributes:
        method: GET or POST.
        path: with ``{name}`` for any one segment.
        scope: what the API key must carry; None: no key is asked for.
        answer: the answer to a call; it may raise ServiceError.
        refuse: an error in the form of the route's protocol.
        quiet: answers of success are not written to the log of the process.
    """

    method: str
    path: str
    scope: str | None
    answer: Callable[[Call], Response]
    refuse: Callable[[ServiceError], Response] = refusal
    quiet: bool = False


class Routes:
    """All routes.

    Args:
        routes: one for each path.
        strangers: how errors look under a path where no route is, by that path.
    """

    def __init__(
        self, routes: Iterable[Route], strangers: Mapping[str, Callable[[ServiceError], Response]] | None = None
    ) -> None:
        self.all = tuple(routes)
        self._strangers = strangers or {}
        self._by_length: dict[int, list[tuple[list[str], Route]]] = {}
        for route in self.all:
            segments = route.path.split("/")
            self._by_length.setdefault(len(segments), []).append((segments, route))

    def find(self, path: str) -> tuple[Route | None, dict[str, str]]:
        """Return the route of a path and what its braces stand for; a slash at the end says nothing."""
        segments = path.rstrip("/").split("/")
        for pattern, route in self._by_length.get(len(segments), ()):
            names = _matched(pattern, segments)
            if names is not None:
                return route, names
        return None, {}

    def refuse(self, path: str, error: ServiceError) -> Response:
        """Return an error about a path that no route has."""
        for prefix, form in self._strangers.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return form(error)
        return refusal(error)


def _matched(pattern: Iterable[str], segments: list[str]) -> dict[str, str] | None:
    names = {}
    for wanted, given in zip(pattern, segments, strict=True):
        if wanted[:1] == "{":
            if not given:
                return None
            names[wanted[1:-1]] = given
        elif wanted != given:
            return None
    return names
