"""How often one API key may ask: a bucket of tokens for each key, in this process."""

from __future__ import annotations

import math
import threading

from trainyard.errors import ServiceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trainyard.clock import Clock

#: Buckets that are full again are forgotten once there are so many.
_MOST_BUCKETS = 10_000


class RateLimit:
    """``rate`` requests per second for each key on the long run, ``burst`` at once; a rate of 0 limits nothing.

    Several processes behind one port count each for itself: together they let through that many times as much.
    """

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._rate = rate
        self._burst = float(max(burst, 1))
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str) -> None:
        """Take one token of the key.

        Raises:
            ServiceError: ``too_many_requests`` when there is none; says after how many seconds there will be one.
        """
        if not self._rate:
            return
        now = self._clock.monotonic()
        with self._lock:
            tokens, at = self._buckets.get(key_id, (self._burst, now))
            tokens = min(self._burst, tokens + (now - at) * self._rate)
            allowed = tokens >= 1.0
            if len(self._buckets) >= _MOST_BUCKETS:
                self._forget(now)
            self._buckets[key_id] = (tokens - allowed, now)
        if not allowed:
            wait = math.ceil((1.0 - tokens) / self._rate)
            said = f"this API key may ask {self._rate:g} times per second, {self._burst:g} times at once"
            raise ServiceError("too_many_requests", said, retry_after_seconds=max(wait, 1))

    def _forget(self, now: float) -> None:
        full = [key for key, (left, at) in self._buckets.items() if left + (now - at) * self._rate >= self._burst]
        for key in full:
            del self._buckets[key]
