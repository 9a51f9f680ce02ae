"""Numbers that stand elsewhere, in the database or at a queue, read when somebody scrapes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import TransientError
from trainyard.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.clock import Clock
    from trainyard.telemetry.numbers import Sample

#: /metrics is open to whoever reaches the port: what it asks others is asked at most this often.
SECONDS = 5.0
_log = logs.get(__name__)


@dataclass(frozen=True)
class Reading:
    """One source of numbers; ``read`` may raise TransientError."""

    source: str
    read: Callable[[], list[Sample]]


class Readings:
    """What all sources say, and which of them answer; safe for threads."""

    def __init__(self, readings: Sequence[Reading], clock: Clock) -> None:
        self._readings = readings
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: list[Sample] = []
        self._read_at: float | None = None

    def __call__(self) -> list[Sample]:
        """Return the numbers, at most :data:`SECONDS` old; those of a source that does not answer are missing."""
        with self._lock:
            now = self._clock.monotonic()
            if self._read_at is None or now - self._read_at >= SECONDS:
                self._samples = [sample for reading in self._readings for sample in self._of(reading)]
                self._read_at = now
            return self._samples

    def _of(self, reading: Reading) -> list[Sample]:
        try:
            found = reading.read()
        except TransientError as e:
            _log.warning("metrics.unknown", source=reading.source, reason=str(e))
            return [("trainyard_source_up", {"source": reading.source}, 0)]
        return [("trainyard_source_up", {"source": reading.source}, 1), *found]
