"""``python -m tests.cases.hour_ahead_scheduler``: the scheduler's loops on a machine whose clock is an hour ahead."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta

from trainyard.clock import SystemClock
from trainyard_scheduler.main import main

AHEAD_SECONDS = 3600.0


def set_clock_ahead() -> None:
    """Let whatever this process asks for the time of day hear an hour more; durations stay true."""
    real_time, real_now = time.time, SystemClock.now

    def now(self: SystemClock) -> datetime:
        return real_now(self) + timedelta(seconds=AHEAD_SECONDS)

    time.time = lambda: real_time() + AHEAD_SECONDS
    SystemClock.now = now  # type: ignore[method-assign]


if __name__ == "__main__":
    set_clock_ahead()
    sys.exit(main())
