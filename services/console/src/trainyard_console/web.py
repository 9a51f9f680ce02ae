"""The console's WSGI application: every page, the files they load, and their events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.adapters.web import make_app
from trainyard_console import frame
from trainyard_console.pages import (
    datasets,
    home,
    models,
    operations,
    predictions,
    quality,
    runs,
    sign_in,
    sources,
    try_it,
    versions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from trainyard.clock import Clock
    from trainyard.telemetry.numbers import Metrics
    from trainyard_console.live import Live
    from trainyard_console.use_cases import Door


def build(
    door: Door,
    live: Live,
    *,
    clock: Clock,
    hosts: Sequence[str],
    version: str,
    metrics: Metrics,
    max_upload_bytes: int,
) -> Flask:
    """Return the WSGI application; it answers under the names ``hosts`` (lower case)."""
    around = frame.Frame(door, version)
    routes = [
        around.static(),
        *sign_in.routes(around, door),
        *home.routes(around, live),
        *datasets.routes(around, max_upload_bytes),
        *sources.routes(around),
        *models.routes(around),
        *runs.routes(around),
        *versions.routes(around),
        *try_it.routes(around),
        *quality.routes(around),
        *predictions.routes(around),
        *operations.routes(around),
    ]
    app = make_app(
        "console",
        routes,
        ring=None,
        clock=clock,
        ready=dict,
        hosts=hosts,
        version=version,
        metrics=metrics,
        show_error=around.show_error,
    )
    around.prepare(app)
    return app
