"""The console's composition root."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING

from trainyard.clock import SystemClock
from trainyard.errors import ConfigError
from trainyard.telemetry.numbers import shared
from trainyard_console import web
from trainyard_console.edges import HttpApi
from trainyard_console.use_cases import Overview

if TYPE_CHECKING:
    from flask import Flask

    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard_console.use_cases import Api

#: Questions that may be under way at once, all viewers together.
_THREADS = 16


def build_app(config: Config, *, api: Api | None = None, clock: Clock | None = None) -> Flask:
    """Return the WSGI application; without ``api`` it asks the services that the configuration names.

    Raises:
        ConfigError: TRAINYARD_CONSOLE_PEERS names something that is no network.
    """
    clock = clock or SystemClock()
    urls = {"ingest": config.ingest_url, "scheduler": config.scheduler_url, "predictor": config.predictor_url}
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="console-ask")
    overview = Overview(api or HttpApi(urls, config.console_key_file), clock, pool)
    return web.build(
        overview,
        clock=clock,
        hosts=config.allowed_hosts,
        peers=_networks(config.console_peers),
        version=version("trainyard-console"),
        metrics=shared("console", config.metrics_dir),
    )


def _networks(words: tuple[str, ...]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(word) for word in words]
    except ValueError as e:
        raise ConfigError(f"TRAINYARD_CONSOLE_PEERS cannot be read: {e}") from e
