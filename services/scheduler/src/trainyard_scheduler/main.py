"""Entry of the loops: relay, policies, reconciler, publisher and fleet, until SIGTERM or SIGINT.

Exit code 0 after a stop that was asked for, 1 after a fault, 2 for a setting that cannot be used.
"""

from __future__ import annotations

import os
import sys
import threading

from trainyard import config, crashpoints, logs
from trainyard.errors import ConfigError
from trainyard.loops import on_stop_signals
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
        on_stop_signals(lambda _name: stop.set())
        program = build_program(settings, stop)
    except ConfigError as e:
        sys.stderr.write(f"trainyard-scheduler: {e}\n")
        return EXIT_CONFIG
    return EXIT_FAULT if program.run() else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
