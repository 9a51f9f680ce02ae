"""The predictor as the stack runs it, for the nursery: gunicorn's master with one worker that answers."""

from __future__ import annotations

import atexit
import os
import sys

import gunicorn.app.wsgiapp

# Imported before the fork, as everything in the nursery is; nothing happens at import.
import trainyard_predictor.wsgi
from trainyard.testing.processes import GUNICORN

#: The nursery asks for a module's ``main``; gunicorn imports the application by name.
APPLICATION = f"{trainyard_predictor.wsgi.__name__}:app()"


def main() -> int:
    """Serve on TRAINYARD_PREDICTOR_PORT until a signal; SystemExit carries the exit code."""
    bind = f"127.0.0.1:{os.environ['TRAINYARD_PREDICTOR_PORT']}"
    sys.argv = [*GUNICORN, "--workers", "1", "--graceful-timeout", "10", "--bind", bind, "--log-level", "info"]
    sys.argv.append(APPLICATION)
    try:
        gunicorn.app.wsgiapp.run()
    finally:
        atexit._run_exitfuncs()
    return 0
