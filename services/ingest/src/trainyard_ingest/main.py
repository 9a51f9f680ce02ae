"""Entry of the worker: landing files and prediction logs, until SIGTERM or SIGINT.

Exit code 0 after a stop that was asked for, 1 after a fault, 2 for a setting that cannot be read.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from trainyard import config, crashpoints, logs
from trainyard.errors import ConfigError
from trainyard.loops import on_stop_signals, run_threads
from trainyard_ingest.bootstrap import build_loops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.loops import Loop

EXIT_OK, EXIT_FAULT, EXIT_CONFIG = 0, 1, 2
_log = logs.get(__name__)


def main() -> int:
    """Run the loops; return the exit code."""
    environ = os.environ  # noqa: TID251 - an entry module
    stop = threading.Event()
    try:
        settings = config.load(environ)
        logs.configure("ingest-worker", level=settings.log_level)
        crashpoints.arm(environ)
        loops = build_loops(settings, stop)
    except ConfigError as e:
        sys.stderr.write(f"trainyard-ingest: {e}\n")
        return EXIT_CONFIG
    on_stop_signals(lambda _name: stop.set())
    return run(loops, stop)


def run(loops: Sequence[Loop], stop: threading.Event) -> int:
    """Run each loop in a thread until ``stop``; a fault in one stops all. Return the exit code."""
    _log.info("worker.started", loops=", ".join(loop.name for loop in loops))

    def wake_all() -> None:
        for loop in loops:
            loop.wake()

    faults = run_threads({loop.name: loop.run for loop in loops}, stop, stopping=wake_all)
    _log.info("worker.stopped", faults=", ".join(faults))
    return EXIT_FAULT if faults else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
