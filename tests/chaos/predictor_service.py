"""The predictor as the stack runs it, for the nursery: gunicorn's master with one worker that answers."""

from __future__ import annotations

import atexit
import os
import sys

import gunicorn.app.wsgiapp

# Imported before the fork, as everything in the nursery is; nothing happens at import.
import trainyard_predictor.web.app
import trainyard_predictor.web.worker  # noqa: F401
from trainyard.testing.processes import PREDICTOR


def main() -> int:
    """Serve on TRAINYARD_PREDICTOR_PORT until a signal; SystemExit carries the exit code."""
    bind = f"127.0.0.1:{os.environ['TRAINYARD_PREDICTOR_PORT']}"
    sys.argv = [*PREDICTOR, "--workers", "1", "--graceful-timeout", "10", "--bind", bind, "--log-level", "info"]
    try:
        gunicorn.app.wsgiapp.run()
    finally:
        atexit._run_exitfuncs()
    return 0
