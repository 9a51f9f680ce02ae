"""Which paths there are, what each of them needs, and who answers."""

from __future__ import annotations

from trainyard.frozen import dataclass, field
from trainyard_predictor.exchange import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trainyard.auth import Principal
    from trainyard.errors import ServiceError
    from trainyard_predictor.exchange import Request, Response


#: How a request is answered: within a few milliseconds and without waiting for anything; by nothing but computing, but
#: longer than that; or perhaps only after a wait, or a very long computation.
AT_ONCE, COMPUTES, WAITS = range(3)


@dataclass(frozen=True)
class Call:
    """A request that may be answered. ``names`` are the segments that the path's braces stand for.

    ``key_id`` is the API key's, ``who`` what it may; None where the route needs none.
    """

    request: Request
    names: Mapping[str, str]
    trace_id: str
    key_id: str | None = None
    who: Principal | None = None


@dataclass(frozen=True)
class Route:
    """One path and one method.

    Attributes:
        method: GET, POST or DELETE.
        path: with ``{name}`` for any one segment.
        scope: what the API key must carry; None: no key is asked for.
        answer: the answer to a call; it may raise ServiceError.
        refuse: an error in the form of the route's protocol.
        quiet: answers of success are not written to the log of the process.
        pace: AT_ONCE, COMPUTES or WAITS, of a request with what the path's braces stand for.
        streams: whether it reads what follows a body's first ``MAX_BODY_BYTES`` (``Request.rest``).
    """

    method: str
    path: str
    scope: str | None
    answer: Callable[[Call], Response]
    refuse: Callable[[ServiceError], Response] = refusal
    quiet: bool = False
    pace: Callable[[Request, Mapping[str, str]], int] = lambda *_: WAITS
    streams: bool = False


@dataclass(frozen=True)
class Rest:
    """The routes of protocols that most processes are never asked in.

    ``strangers``: how errors look at and under a path where no route is, by that path.
    """

    routes: tuple[Route, ...] = ()
    strangers: Mapping[str, Callable[[ServiceError], Response]] = field(default_factory=dict)


#: Paths whose route is remembered; whoever asks for more than these has each looked up anew.
_MOST_KNOWN = 1_000


class Routes:
    """All routes. Those of the rest are made when a path is asked for that none of the ``first`` has."""

    def __init__(self, first: Iterable[Route], rest: Callable[[], Rest] = Rest) -> None:
        self._first = _Table(first)
        self._known: dict[tuple[str, str], tuple[Route, dict[str, str]]] = {}
        self._make_rest = rest
        self._rest: tuple[_Table, Rest] | None = None  # threads may make it twice, which does no harm

    def known(self, path: str, method: str = "") -> tuple[Route | None, dict[str, str]]:
        """Return what :meth:`find` does, as far as nothing must be made for it."""
        found = self._known.get((path, method))
        if found is not None:
            return found
        segments = path.rstrip("/").split("/")
        route, names = self._first.find(segments, method)
        if route is None and self._rest is not None:
            route, names = self._rest[0].find(segments, method)
        if route is not None and len(self._known) < _MOST_KNOWN:
            self._known[path, method] = route, names
        return route, names

    def find(self, path: str, method: str = "") -> tuple[Route | None, dict[str, str]]:
        """Return the route of a path and what its braces stand for; a slash at the end says nothing.

        Where several methods have the path, it is that of ``method``, or the first if none of them is.
        """
        found = self.known(path, method)
        if found[0] is None and self._rest is None:
            self._ready_rest()
            found = self.known(path, method)
        return found

    def refuse(self, path: str, error: ServiceError) -> Response:
        """Return an error about a path that no route has."""
        for prefix, form in self._ready_rest()[1].strangers.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return form(error)
        return refusal(error)

    def methods(self, route: Route) -> list[str]:
        """Return every method that the path of ``route`` takes."""
        return [one.method for one in self.all() if one.path == route.path]

    def all(self) -> list[Route]:
        """Return every route."""
        return [*self._first.routes, *self._ready_rest()[0].routes]

    def _ready_rest(self) -> tuple[_Table, Rest]:
        if self._rest is None:
            rest = self._make_rest()
            self._rest = _Table(rest.routes), rest
        return self._rest


class _Table:
    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._by_length: dict[int, list[tuple[list[str], Route]]] = {}
        for route in self.routes:
            segments = route.path.split("/")
            self._by_length.setdefault(len(segments), []).append((segments, route))

    def find(self, segments: list[str], method: str) -> tuple[Route | None, dict[str, str]]:
        found: tuple[Route | None, dict[str, str]] = None, {}
        for pattern, route in self._by_length.get(len(segments), ()):
            names = _matched(pattern, segments)
            if names is not None:
                if route.method == method:
                    return route, names
                if found[0] is None:
                    found = route, names
        return found


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
