"""The HTTP edge the Flask services share: deny by default, one error form, limits, health, metrics, OpenAPI.

A service lists its :class:`Route` objects and calls :func:`make_app`. A view takes the path's values as keyword
arguments and returns ``(status, JSON value)`` or a Flask response; it finds who asks in :func:`principal`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from trainyard import logs, strict_json, trace_ids
from trainyard.adapters import openapi
from trainyard.errors import CODES, Problem, ServiceError, TransientError
from trainyard.telemetry.numbers import CONTENT_TYPE, Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.auth import KeyRing, Principal
    from trainyard.clock import Clock
    from trainyard.telemetry.numbers import Sample

#: Largest body of a route that does not say otherwise, in bytes.
CONTROL_BODY_BYTES = 256 * 1024
#: The query parameters of a list, as :func:`page_arguments` reads them.
PAGE = ("limit", "cursor")
_MAX_URI_CHARS = 4096
_HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    414: "uri_too_long",
    415: "unsupported_media",
}
_log = logs.get(__name__)


@dataclass(frozen=True)
class Route:
    """One operation. ``scope`` None: anybody may call it. ``rule`` is Flask's, e.g. ``/v1/datasets/<name>``.

    ``parameters`` are all that its query may have; a route without scope, for probes and browsers, ignores others.
    ``gives`` are the media types, besides JSON, that a caller may ask for with ``Accept``.
    The rest describes it in OpenAPI, where ``tests/api`` holds the service to it: ``body`` and ``answer`` are JSON
    schemas, ``statuses`` those of its successes (none: any 2XX; an answer of 204 has no body), ``media`` the content
    type of an answer, ``shapes`` the schemas of parameters by name, ``fails`` the statuses of refusals besides those
    that its method, path and scope bring with them, ``needs`` the parameters that must be there, ``headers`` those
    that it reads.
    """

    method: str
    rule: str
    view: Callable[..., Any]
    scope: str | None
    summary: str
    max_body_bytes: int = CONTROL_BODY_BYTES
    takes: tuple[str, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    media: str = "application/json"
    shapes: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    fails: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


def principal() -> Principal:
    """Return who sent the current request (only on routes with a scope)."""
    who: Principal = g.principal
    return who


def trace_id() -> str:
    """Return the current request's id: the caller's where it is well-formed, else a new one."""
    ident: str = g.trace_id
    return ident


def read_body() -> bytes:
    """Return the request's whole body; may be called again.

    Raises:
        ServiceError: ``bad_request``: the body broke off, or its chunked encoding is malformed.
    """
    try:
        return request.get_data(cache=True)
    except (HTTPException, ServiceError):
        raise
    except Exception as e:
        # Each WSGI server has exceptions of its own for this, and none but reading happens here.
        raise ServiceError("bad_request", "the body broke off or its chunked encoding is malformed") from e


def read_json() -> Any:
    """Return the request's JSON body, strictly parsed; raises ``ServiceError``."""
    return strict_json.loads(read_body())


def read_object(*, required: Sequence[str] = (), optional: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON body as an object with exactly these keys.

    Raises:
        ServiceError: ``bad_json``/``empty_body``, or ``bad_request`` naming keys that are missing or unknown.
    """
    value = read_json()
    if not isinstance(value, dict):
        raise ServiceError("bad_request", "the body must be a JSON object")
    missing = [name for name in required if name not in value]
    unknown = [name for name in value if name not in required and name not in optional]
    if missing or unknown:
        said = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(unknown)[:200]}"] * bool(
            unknown
        )
        raise ServiceError("bad_request", f"the body's keys are wrong; {'; '.join(said)}")
    return value


def page_arguments(*, most: int = 1000, default: int = 100) -> tuple[int, str | None]:
    """Return ``limit`` and ``cursor`` of a list request; raises ``ServiceError`` on what can be neither."""
    raw = request.args.get("limit", str(default))
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 9 and 1 <= int(raw) <= most):
        raise ServiceError("bad_request", f"limit must be a whole number from 1 to {most}")
    cursor = request.args.get("cursor")
    if cursor is not None and not cursor.isprintable():
        raise ServiceError("bad_request", "the cursor is not one of this list")
    return int(raw), cursor


def json_response(status: int, value: Any) -> Response:
    """Return ``value`` as a JSON answer."""
    return Response(strict_json.dumps(value), status=status, mimetype="application/json")


def _answer(result: Any) -> Response:
    if isinstance(result, Response):
        return result
    status, value = result
    return json_response(status, value)


def _error_response(error: ServiceError) -> Response:
    response = json_response(error.status, error.as_dict())
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _check_host(hosts: Sequence[str]) -> None:
    host = request.headers.get("Host", "")
    name = host.rsplit(":", 1)[0] if re.search(r":\d+$", host) else host
    if name.lower() not in hosts:
        raise ServiceError("bad_host", "this service does not answer to that Host; see TRAINYARD_ALLOWED_HOSTS")


def _check_parameters(known: Sequence[str]) -> None:
    """Refuse what the route does not read: a filter that is ignored would answer another question."""
    if unknown := sorted(request.args.keys() - set(known)):
        allowed = f"one of {', '.join(known)}" if known else "no query parameter"
        details = [Problem(None, name[:80], allowed, "an unknown parameter") for name in unknown[:20]]
        raise ServiceError("bad_request", f"unknown parameter {unknown[0][:80]!r}; this route takes {allowed}", details)


def _view(route: Route, ring: KeyRing | None) -> Callable[..., Response]:
    if route.scope is not None and ring is None:
        raise ValueError(f"{route.rule} needs a scope, and the service has no API keys to check it with")

    def call(**values: Any) -> Response:
        if route.scope is not None and ring is not None:
            g.principal = ring.authenticate(request.headers.get("Authorization"))
            if not g.principal.may(route.scope):
                raise ServiceError("wrong_scope", f"this route needs the scope '{route.scope}'")
            _check_parameters(route.parameters)
        request.max_content_length = route.max_body_bytes
        if (request.content_length or 0) > route.max_body_bytes:
            raise ServiceError("too_large", f"the body is larger than {route.max_body_bytes:,} bytes")
        return _answer(route.view(**values))

    return call


def make_app(
    service: str,
    routes: Sequence[Route],
    *,
    ring: KeyRing | None,
    clock: Clock,
    ready: Callable[[], dict[str, bool]],
    hosts: Sequence[str],
    version: str,
    metrics: Metrics | None = None,
    samples: Callable[[], Sequence[Sample]] = tuple,
    show_error: Callable[[ServiceError], Response] | None = None,
) -> Flask:
    """Build a service's WSGI application.

    Args:
        service: short name, in metrics and OpenAPI.
        routes: everything the service answers, besides /healthz, /readyz, /metrics and /openapi.json.
        ring: the live API keys; None for a service whose routes are all open.
        clock: measures latencies.
        ready: names what the service needs and whether it answers; /readyz is 503 while one does not.
        hosts: lower-case host names that the ``Host`` header may carry.
        version: the release, for OpenAPI.
        metrics: counts what is answered; None: this process alone.
        samples: more numbers for /metrics, asked at each scrape.
        show_error: makes the answer for a refusal, where it is not for programs.
    """
    app = Flask(service, static_folder=None)
    numbers = metrics or Metrics(service)
    document: dict[str, Any] = {}
    everything = [*_own_routes(ring, ready, lambda: numbers.render(samples()), document), *routes]
    document.update(openapi.document(service, everything, version))
    for number, route in enumerate(everything):
        app.add_url_rule(
            route.rule, f"{number}", _view(route, ring), methods=[route.method], provide_automatic_options=False
        )
    _frame_requests(app, numbers, clock, hosts)
    _answer_errors(app, show_error or _error_response)
    return app


def _own_routes(
    ring: KeyRing | None, ready: Callable[[], dict[str, bool]], scrape: Callable[[], bytes], document: dict[str, Any]
) -> list[Route]:
    def readiness() -> tuple[int, Any]:
        parts = ready() if ring is None else {**ready(), "api keys": ring.ready}
        return (200 if all(parts.values()) else 503), {"ready": all(parts.values()), "needs": parts}

    return [
        Route("GET", "/healthz", lambda: (200, {"alive": True}), None, "Whether the process is alive", statuses=(200,)),
        Route(
            "GET",
            "/readyz",
            readiness,
            None,
            "Whether the service can do its job; 503 while it cannot",
            answer=openapi.READINESS,
            statuses=(200, 503),
        ),
        Route("GET", "/openapi.json", lambda: (200, document), None, "This document", statuses=(200,)),
        Route(
            "GET",
            "/metrics",
            lambda: Response(scrape(), content_type=CONTENT_TYPE),
            None,
            "Prometheus metrics",
            statuses=(200,),
            media="text/plain",
        ),
    ]


def _frame_requests(app: Flask, metrics: Metrics, clock: Clock, hosts: Sequence[str]) -> None:
    """Give every request its id and its limits, and every answer its headers, its figures and its line in the log."""

    @app.before_request
    def begin() -> None:
        g.began = clock.monotonic()
        g.trace_id = trace_ids.trace_id(request.headers.get("X-Request-Id", ""), request.headers.get("traceparent", ""))
        if len(request.full_path) > _MAX_URI_CHARS:
            raise ServiceError("uri_too_long", f"the path and query are longer than {_MAX_URI_CHARS} characters")
        _check_host(hosts)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("trace_id", "")
        response.headers["X-Content-Type-Options"] = "nosniff"
        rule = request.url_rule.rule if request.url_rule else "unmatched"
        seconds = clock.monotonic() - g.get("began", clock.monotonic())
        metrics.observe_request(request.method, rule, response.status_code, seconds)
        if rule not in {"/healthz", "/readyz", "/metrics"}:
            _log.info(
                "http.answered",
                method=request.method,
                path=request.path,
                status=response.status_code,
                ms=round(seconds * 1000, 1),
                trace=g.get("trace_id"),
            )
        return response


def _answer_errors(app: Flask, show: Callable[[ServiceError], Response]) -> None:
    """Give every failure, ours or the framework's, the one error form."""

    @app.errorhandler(ServiceError)
    def service_error(error: ServiceError) -> Response:
        return show(error)

    @app.errorhandler(TransientError)
    def transient_error(error: TransientError) -> Response:
        _log.warning("http.unavailable", reason=str(error), trace=g.get("trace_id"))
        return show(ServiceError("unavailable", f"{error}; try again in a moment", retry_after_seconds=1))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        code = _HTTP_CODES.get(error.code or 500, "bad_request" if (error.code or 500) < 500 else "internal")
        said = "no such route" if isinstance(error, NotFound) else (error.description or CODES[code][1])
        response = show(ServiceError(code, said))
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        _log.error("http.fault", error=error, path=request.path, trace=g.get("trace_id"))
        return show(ServiceError("internal", f"a fault of ours; the log has request {g.get('trace_id')}"))
