"""Threads beside the requests: one for the API keys, one for the models, one for the prediction log, one for shadows.

Keys have a thread of their own: a large artifact that comes slowly must not keep a revoked key alive.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from trainyard import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.auth import KeyRing
    from trainyard.clock import Clock
    from trainyard.telemetry.numbers import Metrics
    from trainyard_predictor.edges.model_source import ModelSource
    from trainyard_predictor.edges.serving import ServingNotice
    from trainyard_predictor.edges.shadow import ShadowScorer
    from trainyard_predictor.edges.shipper import Shipper
    from trainyard_predictor.edges.spool import Spool

#: API keys are published within 2 s of their making and revoked everywhere within 10 s.
KEYS_SECONDS = 2.0
SHIP_SECONDS = 0.5
SHADOW_SECONDS = 0.25
#: How often segments of processes that died are looked for; also done at the start.
ADOPT_SECONDS = 10.0
_MOST_BACKOFF_SECONDS = 2.0
_DRAIN_SECONDS = 5.0
_log = logs.get(__name__)


class Background:
    """Started once per process, after the fork; :meth:`close` ends the threads and sends what is left."""

    def __init__(
        self,
        *,
        models: ModelSource,
        ring: KeyRing,
        spool: Spool,
        shipper: Shipper,
        shadow: ShadowScorer,
        notice: ServingNotice,
        metrics: Metrics,
        clock: Clock,
        check_seconds: float,
    ) -> None:
        self._models = models
        self._ring = ring
        self._spool = spool
        self._shipper = shipper
        self._shadow = shadow
        self._notice = notice
        self._metrics = metrics
        self._clock = clock
        self._check_seconds = check_seconds
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._keys_at = self._adopted_at = -1e9
        self._backoff_seconds = 0.0

    def start(self) -> None:
        """Read the API keys, so that the first request need not fail, and start the threads (daemons)."""
        self.keys()
        rounds = {"keys": self.keys, "refresh": self.refresh, "ship": self.ship, "shadow": self.shadow}
        for name, step in rounds.items():
            thread = threading.Thread(target=self._loop, args=(name, step), name=f"predictor-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Stop the threads and send what is spooled, for a few seconds at most; the rest is on disk for the next."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_DRAIN_SECONDS)
        self._notice.close()
        self._shadow.step()
        sent = self._shipper.drain(_DRAIN_SECONDS)
        self._collect()
        self._spool.close()
        _log.info("predictor.stopped", log_sent=sent)

    def keys(self) -> float:
        """Look at the keys once; return the seconds to wait before the next look."""
        self._keys_at = self._clock.monotonic()
        self._ring.refresh()
        return KEYS_SECONDS

    def refresh(self) -> float:
        """Look at the models once, tell what is served, count; return the seconds to wait.

        The keys are looked at as well when that is due: where there are no threads, this is the one call.
        """
        if self._clock.monotonic() - self._keys_at >= KEYS_SECONDS:
            self.keys()
        self._models.refresh()
        self._notice.step()
        self._collect()
        return self._check_seconds

    def shadow(self) -> float:
        """Compare once what was answered since the last time; return the seconds to wait, in which answers go out."""
        self._shadow.step()
        return SHADOW_SECONDS

    def ship(self) -> float:
        """Send what is spooled once; return the seconds to wait, longer and longer while the queue is away."""
        now = self._clock.monotonic()
        if now - self._adopted_at >= ADOPT_SECONDS:
            self._adopted_at = now
            self._spool.adopt()
        if self._shipper.ship():
            self._backoff_seconds = 0.0
            return SHIP_SECONDS
        self._backoff_seconds = min(_MOST_BACKOFF_SECONDS, 2 * self._backoff_seconds or SHIP_SECONDS)
        return self._backoff_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, hides nothing

    def _collect(self) -> None:
        for kind in ("pointer", "artifact", "store"):
            self._metrics.set_total("trainyard_model_errors_total", self._models.errors[kind], kind=kind)
        for outcome in ("scored", "dropped", "failed"):
            self._metrics.set_total("trainyard_shadow_rows_total", self._shadow.counts[outcome], outcome=outcome)
        self._metrics.set_total("trainyard_prediction_log_sent_total", self._shipper.sent)
        self._metrics.set_total("trainyard_prediction_log_failures_total", self._shipper.failures)

    def _loop(self, name: str, step: Callable[[], float]) -> None:
        wait_seconds = 0.0
        while not self._stop.wait(wait_seconds):
            try:
                wait_seconds = step()
            except Exception as e:  # noqa: BLE001 - a fault in one round must not end the thread: the next may succeed
                _log.error("background.fault", error=e, thread=name)
                wait_seconds = _MOST_BACKOFF_SECONDS
