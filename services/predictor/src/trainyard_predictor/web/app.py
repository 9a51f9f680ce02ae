"""Entry point for gunicorn: ``gunicorn --worker-class trainyard_predictor.web.worker.LoopWorker
"trainyard_predictor.web.app:app()"``; why no WSGI: docs/adr/0028-an-event-loop-for-predictions.md.
"""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING, NoReturn

from trainyard import crashpoints, logs
from trainyard.config import load
from trainyard_predictor import bootstrap
from trainyard_predictor.web.worker import DUES

if TYPE_CHECKING:
    from trainyard_predictor.handler import Handler


class Application:
    """What gunicorn loads and its worker serves; gunicorn wants it callable, and no WSGI server may call it."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def __call__(self, *_: object) -> NoReturn:
        """Refuse: this is no WSGI application."""
        raise TypeError("serve the predictor with --worker-class trainyard_predictor.web.worker.LoopWorker")


def app() -> Application:
    """Read the environment and return the application; called in each worker process, after the fork."""
    environ = os.environ  # noqa: TID251 - an entry module
    config = load(environ)
    crashpoints.arm(environ)
    logs.configure("predictor", level=config.log_level)
    service = bootstrap.build(config, environ, dues=DUES)
    crashpoints.crashpoint("K32")
    service.background.start()
    # a worker that was told to stop finishes its requests first and then leaves the interpreter in good order
    atexit.register(service.background.close)
    return Application(service.handler)
