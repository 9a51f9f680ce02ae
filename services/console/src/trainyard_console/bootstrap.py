"""The console's composition root."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING

from trainyard import private_records
from trainyard.clock import SystemClock
from trainyard.telemetry.numbers import shared
from trainyard_console import web
from trainyard_console.edges import HttpApi
from trainyard_console.live import Live
from trainyard_console.use_cases import Door

if TYPE_CHECKING:
    from flask import Flask

    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard_console.use_cases import Api

#: Questions that may be under way at once, all viewers together.
_THREADS = 24


def build_app(config: Config, *, api: Api | None = None, clock: Clock | None = None) -> Flask:
    """Return the WSGI application; without ``api`` it asks the services that the configuration names."""
    clock = clock or SystemClock()
    urls = {"ingest": config.ingest_url, "scheduler": config.scheduler_url, "predictor": config.predictor_url}
    api = api or HttpApi(urls)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="console-ask")
    sessions = private_records.sessions(config.console_dir, clock)
    links = private_records.links(config.console_dir, clock)
    return web.build(
        Door(api, sessions, links, clock, pool),
        Live(api, clock),
        clock=clock,
        hosts=config.allowed_hosts,
        version=version("trainyard-console"),
        max_upload_bytes=config.max_upload_bytes,
        metrics=shared("console", config.metrics_dir),
    )
