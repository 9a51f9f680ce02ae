"""Aliases and API keys kept current in an environment that is frozen between events."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.auth import KeyRing
    from trainyard.clock import Clock
    from trainyard_predictor.edges.model_source import ModelSource

#: An event waits for a look when the last one is so long ago: nothing older may answer.
STALE_SECONDS = 4.0


class Freshness:
    """Looks for moved aliases and changed keys every ``check_seconds`` beside the events, or before one that must wait.

    A busy environment looks in a thread while it answers, so no request waits. One that was idle for longer than
    STALE_SECONDS may have missed a promotion: its next request waits for the look, 3 conditional reads at most. What
    else there is to do is done in the thread, and no event ever waits for it.
    """

    def __init__(
        self, models: ModelSource, ring: KeyRing, clock: Clock, *, check_seconds: float, beside: Callable[[], None]
    ) -> None:
        self._models = models
        self._ring = ring
        self._clock = clock
        self._check_seconds = check_seconds
        self._beside = beside
        self._looked_at = clock.monotonic()  # nothing is held yet that could be old
        self._thread: threading.Thread | None = None

    def before_event(self) -> None:
        """Look, or start to, if it is time."""
        age_seconds = self._clock.monotonic() - self._looked_at
        if age_seconds < self._check_seconds:
            return
        stale = age_seconds >= STALE_SECONDS
        if stale:
            self.look()
        if self._thread is None or not self._thread.is_alive():
            work = self._beside if stale else self._look_and_more
            self._thread = threading.Thread(target=work, name="predictor-look", daemon=True)
            self._thread.start()

    def look(self) -> None:
        """Look now; a store that does not answer leaves what is held in force."""
        began = self._clock.monotonic()
        if self._ring.ready:
            self._ring.refresh()
        self._models.refresh()
        self._looked_at = began

    def expire(self) -> None:
        """Have the next event wait for a look, however short ago the last one seems to be."""
        self._looked_at = float("-inf")

    def _look_and_more(self) -> None:
        self.look()
        self._beside()
