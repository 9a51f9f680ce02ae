"""How often one API key may ask: a bucket of tokens for each key.

Of a bucket only one number is kept: the time at which it is full again. Taking a token moves it on by the time that a
token takes to come back, and there is no token when it would be further ahead than an empty bucket takes to fill.
"""

from __future__ import annotations

import math
import threading

from trainyard.errors import ServiceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from trainyard.clock import Clock

    class Dues(Protocol):
        """When the bucket of each key is full again, in monotonic seconds; safe for threads."""

        def take(self, key_id: str, now: float, step: float, most: float) -> float:
            """Move a key's time on by ``step`` seconds, unless that is more than ``most`` after ``now``.

            Returns how many seconds after ``now`` it is then, or would be.
            """


#: Buckets that are full again are forgotten once there are so many.
_MOST_BUCKETS = 10_000
#: What sums of floats may be off by, in seconds.
_TOLERANCE_SECONDS = 1e-6


class OwnDues:
    """The buckets of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dues: dict[str, float] = {}

    def take(self, key_id: str, now: float, step: float, most: float) -> float:
        """Move a key's time on; see :class:`Dues`."""
        with self._lock:
            due = max(self._dues.get(key_id, now), now) + step
            if due - now <= most:
                if len(self._dues) >= _MOST_BUCKETS:
                    self._dues = {key: due for key, due in self._dues.items() if due > now}
                self._dues[key_id] = due
        return due - now

    def __len__(self) -> int:
        """Return how many buckets are remembered."""
        return len(self._dues)


class RateLimit:
    """``rate`` requests per second for each key on the long run, ``burst`` at once; a rate of 0 limits nothing.

    ``dues`` are this process's own unless others are given: what counts for all processes behind one port is shared by
    them.
    """

    def __init__(self, rate: float, burst: int, clock: Clock, dues: Dues | None = None) -> None:
        self._rate = rate
        self._burst = max(burst, 1)
        self._clock = clock
        self._dues = OwnDues() if dues is None else dues

    def take(self, key_id: str) -> None:
        """Take one token of the key.

        Raises:
            ServiceError: ``too_many_requests`` when there is none; says after how many seconds there will be one.
        """
        if not self._rate:
            return
        most = self._burst / self._rate + _TOLERANCE_SECONDS
        ahead = self._dues.take(key_id, self._clock.monotonic(), 1.0 / self._rate, most)
        if ahead > most:
            said = f"this API key may ask {self._rate:g} times per second, {self._burst} times at once"
            wait = math.ceil(ahead - most)
            raise ServiceError("too_many_requests", said, retry_after_seconds=max(wait, 1))
