"""What a service counts and measures at its HTTP edge, as Prometheus reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import prometheus_client as prometheus

from trainyard import logs
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_log = logs.get(__name__)


@dataclass(frozen=True)
class Gauge:
    """A number that /metrics shows as it is at that moment; ``read`` may raise TransientError."""

    name: str
    meaning: str
    read: Callable[[], float]


class HttpMetrics:
    """Counts and latencies of one app, in a registry of its own."""

    def __init__(self, service: str) -> None:
        self._registry = prometheus.CollectorRegistry()
        self._count = prometheus.Counter(
            "trainyard_http_requests",
            "Requests answered.",
            ["service", "method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = prometheus.Histogram(
            "trainyard_http_request_seconds",
            "Time to answer, in seconds.",
            ["service", "route"],
            registry=self._registry,
        )
        self._service = service

    def add_gauge(self, gauge: Gauge) -> None:
        """Ask for the value whenever somebody reads the metrics; NaN while it cannot be told."""

        def value() -> float:
            try:
                return gauge.read()
            except TransientError as e:
                _log.warning("metrics.unknown", gauge=gauge.name, reason=str(e))
                return math.nan

        prometheus.Gauge(gauge.name, gauge.meaning, registry=self._registry).set_function(value)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer; unknown methods are one: anybody may invent some, and each would stay for ever."""
        method = method if method in _METHODS else "other"
        self._count.labels(self._service, method, route, str(status)).inc()
        self._seconds.labels(self._service, route).observe(seconds)

    def text(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return prometheus.generate_latest(self._registry)
