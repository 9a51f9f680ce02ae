"""The predictor's HTTP edge without a protocol: a :class:`Request` in, a :class:`Response` out.

A web server (:mod:`trainyard_predictor.web`) and whatever else carries requests map themselves to these two. What is
imported here is paid at every cold start: numpy, msgpack, the standard library and ``trainyard``'s core, nothing else.
"""

from __future__ import annotations

import re

from trainyard import logs, trace_ids
from trainyard.errors import ServiceError, TransientError
from trainyard.telemetry.numbers import CONTENT_TYPE
from trainyard_predictor.exchange import MAX_BODY_BYTES, Request, Response, json_response
from trainyard_predictor.protocols.routes import AT_ONCE, WAITS, Call, Rest, Route, Routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trainyard.auth import KeyRing, Principal
    from trainyard.clock import Clock
    from trainyard.telemetry.numbers import Metrics
    from trainyard_predictor.edges.health import HealthCheck
    from trainyard_predictor.edges.limits import RateLimit

__all__ = ["MAX_BODY_BYTES", "Handler", "Request", "Response"]

_MAX_URI_CHARS = 4096
_PORT = re.compile(r":\d+$")
_MOST_KNOWN_HOSTS = 100
_log = logs.get(__name__)


class Handler:
    """Answers every request; nothing it is given makes it raise.

    Args:
        routes: those of our own protocol.
        rest: those of the others, asked for once one of them is needed.
        ring: the live API keys.
        ready: names what the service needs and whether it is there; /readyz is 503 while something is not.
        gauges: (family, labels, value) for /metrics, asked at each scrape.
        hosts: lower-case names that the ``Host`` header may carry; None: any.
        version: the release, for OpenAPI.
        health: looks at the models in memory, for /readyz; None: nobody does.
        limit: how often one key may ask; None: as often as it likes.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        rest: Callable[[], Rest],
        ring: KeyRing,
        clock: Clock,
        metrics: Metrics,
        ready: Callable[[], dict[str, bool]],
        gauges: Callable[[], list[tuple[str, Mapping[str, str], float]]],
        hosts: Sequence[str] | None,
        version: str,
        health: HealthCheck | None = None,
        limit: RateLimit | None = None,
    ) -> None:
        self._ring = ring
        self._clock = clock
        self._metrics = metrics
        self._ready = ready
        self._gauges = gauges
        self._hosts = None if hosts is None else frozenset(hosts)
        self._known_hosts: set[str] = set()  # as they were sent, with their ports
        self._version = version
        self._health = health
        self._limit = limit
        self.routes = Routes([*routes, *self._operations()], rest)

    def _operations(self) -> list[Route]:
        plain = {"Content-Type": CONTENT_TYPE}
        return [
            Route(
                "GET",
                "/healthz",
                None,
                lambda _: json_response(200, {"alive": True}),
                quiet=True,
                pace=lambda *_: AT_ONCE,
            ),
            Route("GET", "/readyz", None, lambda call: self._readiness(call.request), quiet=True),
            Route(
                "GET",
                "/metrics",
                None,
                lambda _: Response(200, plain.copy(), self._metrics.render(self._gauges())),
                quiet=True,
            ),
            Route("GET", "/openapi.json", None, lambda _: self._document()),
        ]

    def pace(self, request: Request) -> int:
        """Tell how a request is answered: AT_ONCE, COMPUTES or WAITS."""
        if request.fault is not None:
            return AT_ONCE
        seen = request.seen
        found = None if seen is None else seen.route
        route, names = found or self.routes.known(request.path, request.method)
        if route is None or (pace := route.pace(request, names)) == WAITS:
            return WAITS
        known = route.scope is None or self._ring.answers_at_once(request.headers.get("authorization"))
        return pace if known else WAITS

    def streams(self, request: Request) -> bool:
        """Tell whether a body that is longer than others may be is read while it comes."""
        route, _ = self.routes.find(request.path, request.method)
        return route is not None and route.streams and route.method == request.method

    def handle(self, request: Request) -> Response:
        """Return the answer, an error of docs/errors.md in the form of its protocol included."""
        began = self._clock.monotonic()
        trace_id = trace_ids.trace_id(request.headers.get("x-request-id", ""), request.headers.get("traceparent", ""))
        route, names = self._find(request)
        try:
            response = self._answer(request, route, names, trace_id)
        except ServiceError as e:
            response = self._refuse(request, route, e)
        except TransientError as e:
            _log.warning("http.unavailable", reason=str(e), trace=trace_id)
            error = ServiceError("unavailable", f"{e}; try again in a moment", retry_after_seconds=1)
            response = self._refuse(request, route, error)
        except Exception as e:  # noqa: BLE001 - the last resort of an edge: a fault of ours, logged and answered
            _log.error("http.fault", error=e, path=request.path, trace=trace_id)
            error = ServiceError("internal", f"a fault of ours; the log has request {trace_id}")
            response = self._refuse(request, route, error)
        response.headers["X-Request-Id"] = trace_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        seconds = self._clock.monotonic() - began
        self._metrics.observe_request(request.method, route.path if route else "unmatched", response.status, seconds)
        # every prediction is in the prediction log with its trace id, so only what is refused is worth a line
        if response.status >= 400 or route is None or not route.quiet:
            _log.info(
                "http.answered",
                method=request.method,
                path=request.path,
                status=response.status,
                ms=round(seconds * 1000, 1),
                trace=trace_id,
            )
        return response

    def _find(self, request: Request) -> tuple[Route | None, Mapping[str, str]]:
        seen = request.seen
        if seen is None:
            return self.routes.find(request.path, request.method)
        if seen.route is None:
            seen.route = self.routes.find(request.path, request.method)
        return seen.route

    def _answer(self, request: Request, route: Route | None, names: Mapping[str, str], trace_id: str) -> Response:
        seen = request.seen
        if seen is None or not seen.admitted or route is None:
            route = self._admitted(request, route)
            if seen is not None:
                seen.admitted = True
        who = None if route.scope is None else self._authenticate(request, route.scope)
        return route.answer(Call(request, names, trace_id, who.key_id if who else None, who))

    def _admitted(self, request: Request, route: Route | None) -> Route:
        """Return the route of a request whose head is as it should be."""
        if request.fault is not None:
            raise request.fault
        if len(request.path) + len(request.query) > _MAX_URI_CHARS:
            raise ServiceError("uri_too_long", f"the path and query are longer than {_MAX_URI_CHARS} characters")
        self._check_host(request.headers.get("host", ""))
        if route is None:
            raise ServiceError("not_found", "no such route")
        if request.method != route.method:
            takes = " or ".join(self.routes.methods(route))
            raise ServiceError("method_not_allowed", f"this path takes {takes}, not {request.method[:16]}")
        return route

    def _check_host(self, host: str) -> None:
        """Refuse a Host that is not one of ours; those that were good are remembered, ports being few."""
        if self._hosts is None or host in self._known_hosts:
            return
        if _PORT.sub("", host).lower() not in self._hosts:
            raise ServiceError("bad_host", "this service does not answer to that Host; see TRAINYARD_ALLOWED_HOSTS")
        if len(self._known_hosts) < _MOST_KNOWN_HOSTS:
            self._known_hosts.add(host)

    def _authenticate(self, request: Request, scope: str) -> Principal:
        """Return who asks: whose API key was sent, or whom the carrier knows."""
        who = request.principal or self._ring.authenticate(request.headers.get("authorization"))
        if not who.may(scope):
            raise ServiceError("wrong_scope", f"this route needs the scope {scope!r}")
        if self._limit is not None:
            self._limit.take(who.key_id)
        return who

    def _refuse(self, request: Request, route: Route | None, error: ServiceError) -> Response:
        response = route.refuse(error) if route else self.routes.refuse(request.path, error)
        if error.retry_after_seconds is not None:
            response.headers["Retry-After"] = str(error.retry_after_seconds)
        if error.code == "method_not_allowed" and route:
            response.headers["Allow"] = ", ".join(self.routes.methods(route))
        if error.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def _document(self) -> Response:
        from trainyard_predictor import openapi  # noqa: PLC0415 - no prediction needs it

        return json_response(200, openapi.document(self._version))

    def _readiness(self, request: Request) -> Response:
        needs, models = {"api keys": self._ring.ready, **self._ready()}, []
        if self._health is not None:
            health = self._health(deep="deep=1" in request.query.split("&"))
            needs["golden rows"], models = health.golden, health.models
        ready = all(needs.values())
        return json_response(200 if ready else 503, {"ready": ready, "needs": needs, "models": models})
