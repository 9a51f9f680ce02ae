"""``python -m trainyard_embedded.router``: the path router as a process.

Exit code 0 after a stop that was asked for, 2 for a setting that cannot be used.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from trainyard import config as settings
from trainyard import logs
from trainyard.errors import ConfigError
from trainyard_embedded.router.proxy import MOST_HEAD_BYTES, make_app
from trainyard_embedded.router.routes import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_CONFIG = 2
_STOP_SECONDS = 2.0


class MalformedRequests(logging.Filter):
    """Turns aiohttp's traceback about a client that does not speak HTTP into one line: it is no fault of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, that of a malformed request without its traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args = "request.malformed", ()
        return True


def main(environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    try:
        config = settings.load(environ)
    except ConfigError as e:
        sys.stderr.write(f"trainyard-router: {e}\n")
        return EXIT_CONFIG
    logs.configure("router", level=config.log_level)
    logging.getLogger("aiohttp.server").addFilter(MalformedRequests())
    routes = parse(files("trainyard_embedded.router").joinpath("routes.toml").read_text(encoding="utf-8"))
    upstreams = {service: f"http://127.0.0.1:{getattr(config, service + '_port')}" for service in routes.services}
    web.run_app(
        make_app(routes, upstreams),
        host="127.0.0.1",
        port=config.router_port,
        print=None,
        access_log=None,
        shutdown_timeout=_STOP_SECONDS,
        # A client that goes away takes its request to the service with it: event streams would stay for ever.
        handler_cancellation=True,
        auto_decompress=False,
        max_line_size=MOST_HEAD_BYTES,
        max_field_size=MOST_HEAD_BYTES,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))  # noqa: TID251 - the entry reads the environment
