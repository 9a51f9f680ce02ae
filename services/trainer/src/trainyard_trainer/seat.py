"""Keeping a seat in another worker's search: a thread that says that we are there, and hears when it is over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from types import TracebackType

    from trainyard.clock import Clock
    from trainyard.contracts.searches import Searches
    from trainyard_trainer.ports import TrainerSettings

log = logs.get(__name__)

#: A search that ends sends its helpers home within so long.
_STAY_EVERY_SECONDS = 2.0
_JOIN_SECONDS = 5.0


class SeatKeeper:
    """Keeps the seat while it is entered, and gives it up at the end, so that the leader need not wait for it."""

    def __init__(self, searches: Searches, seat_id: str, settings: TrainerSettings, clock: Clock) -> None:
        self._searches = searches
        self._seat_id = seat_id
        self._settings = settings
        self._clock = clock
        self._kept = clock.monotonic()
        self._reason = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._stay_on, name="seat", daemon=True)

    def __enter__(self) -> SeatKeeper:
        """Begin to say it."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and leave; a seat that the database does not hear of runs out."""
        self._ended.set()
        self._thread.join(_JOIN_SECONDS)
        try:
            self._searches.leave(self._seat_id)
        except TransientError as e:
            log.warning("seat.not_left", reason=str(e))

    @property
    def over(self) -> str:
        """Why the work must stop at once, '' while it need not."""
        if not self._reason and self._clock.monotonic() - self._kept > self._settings.lease_seconds:
            return "the seat could not be kept"
        return self._reason

    def _stay_on(self) -> None:
        while not self._reason and not self._ended.wait(min(_STAY_EVERY_SECONDS, self._settings.beat_seconds)):
            begun = self._clock.monotonic()
            settings = self._settings
            try:
                self._reason = self._searches.stay(
                    self._seat_id,
                    seconds=settings.lease_seconds,
                    instance_id=settings.instance_id,
                    instance_type=settings.instance_type,
                )
                self._kept = begun
            except TransientError as e:
                log.warning("seat.not_kept", reason=str(e))
