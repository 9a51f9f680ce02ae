"""The predictor's HTTP edge without a protocol: a :class:`Request` in, a :class:`Response` out.

WSGI (:mod:`trainyard_predictor.wsgi`) and whatever else carries requests map themselves to these two. What is imported
here is paid at every cold start: numpy, msgpack, the standard library and ``trainyard``'s core, nothing else.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainyard import logs, strict_json
from trainyard.crashpoints import crashpoint
from trainyard.errors import ServiceError, TransientError
from trainyard_predictor import domain, openapi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.auth import KeyRing, Principal
    from trainyard.clock import Clock
    from trainyard_predictor.edges.health import HealthCheck
    from trainyard_predictor.edges.limits import RateLimit
    from trainyard_predictor.edges.metrics import Metrics
    from trainyard_predictor.use_cases import Predict

#: Largest body of any route, in bytes. Whoever carries requests need not read more than one byte beyond it.
MAX_BODY_BYTES = 1024 * 1024
_MAX_URI_CHARS = 4096
_PREDICT = "/v1/predict/"
_TRACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PORT = re.compile(r":\d+$")
_UTF8 = {"utf-8", "utf8", "us-ascii"}
_QUIET = {"/healthz", "/readyz", "/metrics", _PREDICT}
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_log = logs.get(__name__)


@dataclass(frozen=True)
class Request:
    """``path`` is decoded and without query; header names are in lower case; ``body`` may be cut after the limit."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """Content-Length is left to the protocol."""

    status: int
    headers: dict[str, str]
    body: bytes


class Handler:
    """Answers every request; nothing it is given makes it raise.

    Args:
        predict: the use case.
        ring: the live API keys.
        ready: names what the service needs and whether it is there; /readyz is 503 while something is not.
        gauges: (family, labels, value) for /metrics, asked at each scrape.
        hosts: lower-case names that the ``Host`` header may carry.
        version: the release, for OpenAPI.
        health: looks at the models in memory, for /readyz; None: nobody does.
        limit: how often one key may ask; None: as often as it likes.
    """

    def __init__(
        self,
        predict: Predict,
        *,
        ring: KeyRing,
        clock: Clock,
        metrics: Metrics,
        ready: Callable[[], dict[str, bool]],
        gauges: Callable[[], list[tuple[str, Mapping[str, str], float]]],
        hosts: Sequence[str],
        version: str,
        health: HealthCheck | None = None,
        limit: RateLimit | None = None,
    ) -> None:
        self._predict = predict
        self._ring = ring
        self._clock = clock
        self._metrics = metrics
        self._ready = ready
        self._gauges = gauges
        self._hosts = frozenset(hosts)
        self._version = version
        self._health = health
        self._limit = limit
        self._open_routes: dict[str, Callable[[Request], Response]] = {
            "/healthz": lambda _: _json(200, {"alive": True}),
            "/readyz": self._readiness,
            "/metrics": lambda _: Response(
                200, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}, metrics.render(self._gauges())
            ),
            "/openapi.json": lambda _: _json(200, openapi.document(self._version)),
        }

    def handle(self, request: Request) -> Response:
        """Return the answer, an error of docs/errors.md included."""
        began = self._clock.monotonic()
        asked = request.headers.get("x-request-id", "")
        trace_id = asked if _TRACE.fullmatch(asked) else secrets.token_hex(16)
        route = self._route(request.path)
        try:
            response = self._answer(request, route, trace_id)
        except ServiceError as e:
            response = _error(e)
        except TransientError as e:
            _log.warning("http.unavailable", reason=str(e), trace=trace_id)
            response = _error(ServiceError("unavailable", f"{e}; try again in a moment", retry_after_seconds=1))
        except Exception as e:  # noqa: BLE001 - the last resort of an edge: a fault of ours, logged and answered
            _log.error("http.fault", error=e, path=request.path, trace=trace_id)
            response = _error(ServiceError("internal", f"a fault of ours; the log has request {trace_id}"))
        response.headers["X-Request-Id"] = trace_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        seconds = self._clock.monotonic() - began
        method = request.method if request.method in _METHODS else "other"
        self._metrics.observe_request(method, _label(route), response.status, seconds)
        # every prediction is in the prediction log with its trace id, so only what is refused is worth a line
        if response.status >= 400 or route not in _QUIET:
            _log.info(
                "http.answered",
                method=request.method,
                path=request.path,
                status=response.status,
                ms=round(seconds * 1000, 1),
                trace=trace_id,
            )
        return response

    def _route(self, path: str) -> str | None:
        if path in self._open_routes:
            return path
        target = path.removeprefix(_PREDICT)
        return _PREDICT if target != path and target and "/" not in target else None

    def _answer(self, request: Request, route: str | None, trace_id: str) -> Response:
        if len(request.path) + len(request.query) > _MAX_URI_CHARS:
            raise ServiceError("uri_too_long", f"the path and query are longer than {_MAX_URI_CHARS} characters")
        if _PORT.sub("", request.headers.get("host", "")).lower() not in self._hosts:
            raise ServiceError("bad_host", "this service does not answer to that Host; see TRAINYARD_ALLOWED_HOSTS")
        if route is None:
            raise ServiceError("not_found", "no such route")
        allowed = "POST" if route == _PREDICT else "GET"
        if request.method != allowed:
            refusal = _error(
                ServiceError("method_not_allowed", f"this path takes {allowed}, not {request.method[:16]}")
            )
            refusal.headers["Allow"] = allowed
            return refusal
        if route != _PREDICT:
            return self._open_routes[route](request)
        return self._answer_predict(request, trace_id)

    def _answer_predict(self, request: Request, trace_id: str) -> Response:
        who = self._authenticate(request)
        _check_media(request.headers)
        _check_length(request)
        idempotency_key = domain.check_idempotency_key(request.headers.get("idempotency-key"))
        target = domain.parse_target(request.path.removeprefix(_PREDICT))
        rows, explain = domain.parse_body(strict_json.loads(request.body))
        sticky = domain.check_sticky(request.headers.get("x-trainyard-sticky"))
        answer = self._predict(domain.Query(target, rows, who.key_id, trace_id, idempotency_key, explain, sticky))
        crashpoint("K40")
        self._metrics.count("trainyard_predictions_total", len(rows), model=answer.model, version=str(answer.version))
        response = _json(200, answer.as_dict())
        response.headers["x-trainyard-version"] = str(answer.version)
        return response

    def _authenticate(self, request: Request) -> Principal:
        who = self._ring.authenticate(request.headers.get("authorization"))
        if not who.may("predict"):
            raise ServiceError("wrong_scope", "this route needs the scope 'predict'")
        if self._limit is not None:
            self._limit.take(who.key_id)
        return who

    def _readiness(self, request: Request) -> Response:
        needs, models = {"api keys": self._ring.ready, **self._ready()}, []
        if self._health is not None:
            health = self._health(deep="deep=1" in request.query.split("&"))
            needs["golden rows"], models = health.golden, health.models
        ready = all(needs.values())
        return _json(200 if ready else 503, {"ready": ready, "needs": needs, "models": models})


def _check_media(headers: Mapping[str, str]) -> None:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise ServiceError("unsupported_media", "send the body without Content-Encoding")
    kind, _, rest = headers.get("content-type", "application/json").partition(";")
    charset = rest.lower().partition("charset=")[2].partition(";")[0].strip().strip('"') or "utf-8"
    if kind.strip().lower() != "application/json" or charset not in _UTF8:
        raise ServiceError("unsupported_media", "this route reads JSON: send Content-Type: application/json")


def _check_length(request: Request) -> None:
    """Refuse what is longer than the limit, and a body that stopped before the length it promised."""
    promised = request.headers.get("content-length", "")
    length = int(promised) if promised.isascii() and promised.isdigit() and len(promised) < 20 else None
    if (length or 0) > MAX_BODY_BYTES or len(request.body) > MAX_BODY_BYTES:
        raise ServiceError("too_large", f"the body is larger than {MAX_BODY_BYTES:,} bytes; send the rows in parts")
    if length is not None and len(request.body) < length:
        raise ServiceError("request_timeout", f"the body stopped after {len(request.body)} of {length} bytes")


def _label(route: str | None) -> str:
    if route == _PREDICT:
        return "/v1/predict/{target}"
    return route or "unmatched"


def _json(status: int, value: Any) -> Response:
    return Response(status, {"Content-Type": "application/json"}, strict_json.dumps(value))


def _error(error: ServiceError) -> Response:
    response = _json(error.status, error.as_dict())
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
