"""How long a run may go on, and how long it insists on something outside that does not answer."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

from trainyard import logs
from trainyard.contracts.runs import LeaseLostError
from trainyard.errors import TransientError
from trainyard_trainer.domain import MOST_RUN_SECONDS, CancelledError, RunFailedError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.clock import Clock
    from trainyard_trainer.lease import LeaseKeeper
    from trainyard_trainer.ports import Stop

log = logs.get(__name__)
_Answer = TypeVar("_Answer")

_LEAST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 0.2, 2.0
#: How long a run insists on something outside that does not answer, while its lease lives.
PATIENCE_SECONDS = 600.0


def pause(clock: Clock) -> None:
    """Wait a moment before something outside is asked again."""
    clock.sleep(random.uniform(_LEAST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS))  # noqa: S311 - jitter


class Guard:
    """Watches over one run: its lease, the wishes to cancel it and to stop the trainer, and the cap of all runs."""

    def __init__(self, keeper: LeaseKeeper, stop: Stop, clock: Clock) -> None:
        self._keeper = keeper
        self._stop = stop
        self._clock = clock
        self._deadline = clock.monotonic() + MOST_RUN_SECONDS

    def check(self) -> None:
        """Raise what ends the run early.

        Raises:
            LeaseLostError: the lease was taken, or could not be renewed.
            CancelledError, StoppedError: somebody wants the end.
            RunFailedError: ``timeout``: no run may take that long.
        """
        if code := self._keeper.lost:
            raise LeaseLostError("the lease is somebody else's or could not be renewed", code)
        if self._keeper.cancelled:
            raise CancelledError("cancelled on request")
        if self._stop.reason:
            raise StoppedError(self._stop.reason)
        if self._clock.monotonic() > self._deadline:
            raise RunFailedError("timeout", f"no run may take more than {MOST_RUN_SECONDS / 3600:g} hours")

    def work(self, call: Callable[[], _Answer]) -> _Answer:
        """Call for the run's work until it succeeds, as long as the run may go on at all (:meth:`check`).

        Raises:
            RunFailedError: ``transient``: patience ran out first.
        """
        return self._insist(call, self.check)

    def settle(self, call: Callable[[], _Answer]) -> _Answer:
        """Call for a record of the run's end until it succeeds, for the rest of the lease, whoever wants to stop.

        Raises:
            LeaseLostError: the lease ran out or was taken first.
            RunFailedError: ``transient``: patience ran out first.
        """
        return self._insist(call, self.check_lease)

    def check_lease(self) -> None:
        """Raise LeaseLostError when somebody else may have claimed the request."""
        if self._keeper.over:
            code = "zombie" if self._keeper.lost == "zombie" else "lease_lost"
            raise LeaseLostError("the lease ran out while something outside did not answer", code)

    def _insist(self, call: Callable[[], _Answer], check: Callable[[], None]) -> _Answer:
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call()
            except TransientError as e:
                log.warning("run.outage", reason=str(e))
                check()
                if self._clock.monotonic() > deadline:
                    raise RunFailedError("transient", str(e)) from e
            pause(self._clock)
            check()  # the lease may have run out meanwhile: then an outside that is back is for the next holder
