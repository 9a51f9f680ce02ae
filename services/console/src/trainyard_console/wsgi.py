"""Entry point for a WSGI server: ``gunicorn "trainyard_console.wsgi:app()"``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trainyard import config, logs
from trainyard_console.bootstrap import build_app

if TYPE_CHECKING:
    from flask import Flask


def app() -> Flask:
    """Return the WSGI application for this process' environment."""
    settings = config.load(os.environ)  # noqa: TID251 - an entry module
    logs.configure("console", level=settings.log_level)
    return build_app(settings)
