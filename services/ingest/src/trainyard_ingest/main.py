"""Entry of the worker: landing files and prediction logs, until SIGTERM or SIGINT.

Exit code 0 after a stop that was asked for, 1 after a fault, 2 for a setting that cannot be read.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from trainyard import config, crashpoints, logs
from trainyard.errors import ConfigError
from trainyard_ingest.bootstrap import build_loops
from trainyard_ingest.edges import run_loop

if TYPE_CHECKING:
    from collections.abc import Callable

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
    _stop_on_signals(stop)
    return run(loops, stop)


def run(loops: dict[str, tuple[Callable[[], None], Callable[[], None]]], stop: threading.Event) -> int:
    """Run each loop in a thread until ``stop``; a fault in one stops all. Return the exit code."""
    faults: list[str] = []

    def guarded(name: str, step: Callable[[], None], recovered: Callable[[], None]) -> None:
        try:
            run_loop(name, step, stop, recovered)
        except Exception as e:  # noqa: BLE001 - a thread must not die unseen: the process ends and is started again
            _log.error("loop.fault", loop=name, error=e)
            faults.append(name)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(name, *both), name=name) for name, both in loops.items()]
    for thread in threads:
        thread.start()
    _log.info("worker.started", loops=", ".join(loops))
    stop.wait()
    for thread in threads:
        thread.join()
    _log.info("worker.stopped", faults=", ".join(faults))
    return EXIT_FAULT if faults else EXIT_OK


def _stop_on_signals(stop: threading.Event) -> None:
    """Let the first signal stop in good order and the second end the process."""

    def on_signal(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


if __name__ == "__main__":
    sys.exit(main())
