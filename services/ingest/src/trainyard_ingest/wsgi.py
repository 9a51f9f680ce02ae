"""Entry of the web service: ``gunicorn "trainyard_ingest.wsgi:app()"``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trainyard import config, crashpoints, logs
from trainyard_ingest.bootstrap import build_app

if TYPE_CHECKING:
    from flask import Flask


def app() -> Flask:
    """Return the WSGI application for this process' environment."""
    environ = os.environ  # noqa: TID251 - an entry module
    settings = config.load(environ)
    logs.configure("ingest", level=settings.log_level)
    crashpoints.arm(environ)
    return build_app(settings)
