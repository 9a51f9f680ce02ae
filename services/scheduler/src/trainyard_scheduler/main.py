"""Entry of the loops: relay, policies, reconciler, publisher and fleet, until SIGTERM or SIGINT.

Exit code 0 after a stop that was asked for, 1 after a fault, 2 for a setting that cannot be used.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from trainyard import config, crashpoints, logs
from trainyard.errors import ConfigError
from trainyard_scheduler.bootstrap import build_program

EXIT_OK, EXIT_FAULT, EXIT_CONFIG = 0, 1, 2


def main() -> int:
    """Run the loops; return the exit code."""
    environ = os.environ  # noqa: TID251 - an entry module
    stop = threading.Event()
    try:
        settings = config.load(environ)
        logs.configure("scheduler-loops", level=settings.log_level)
        crashpoints.arm(environ)
        _stop_on_signals(stop)
        program = build_program(settings, stop)
    except ConfigError as e:
        sys.stderr.write(f"trainyard-scheduler: {e}\n")
        return EXIT_CONFIG
    return EXIT_FAULT if program.run() else EXIT_OK


def _stop_on_signals(stop: threading.Event) -> None:
    """Let the first signal stop in good order and the second end the process."""

    def on_signal(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


if __name__ == "__main__":
    sys.exit(main())
