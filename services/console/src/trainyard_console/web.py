"""The console's pages: one page, one style sheet, and headers that let a browser do nothing else with them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Response, render_template, request

from trainyard.adapters.web import Route, make_app
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Flask

    from trainyard.clock import Clock
    from trainyard.telemetry.numbers import Metrics
    from trainyard_console.domain import Page

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REFRESH_SECONDS = 5
_HERE = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def build(
    overview: Callable[[], Page],
    *,
    clock: Clock,
    hosts: Sequence[str],
    peers: Sequence[Network],
    version: str,
    metrics: Metrics,
) -> Flask:
    """Return the WSGI application.

    Nobody signs in yet, so the page is only for whoever is on this machine: the caller's address must be in one of
    ``peers`` and the Host one of ``hosts`` (lower case).
    """
    style = (_HERE / "static" / "console.css").read_text(encoding="utf-8")

    def index() -> Response:
        _check_peer(peers)
        paused = request.args.get("pause") == "1"
        text = render_template("page.html", page=overview(), paused=paused, refresh=REFRESH_SECONDS, version=version)
        return _response(text, "text/html", "no-store")

    def css() -> Response:
        _check_peer(peers)
        return _response(style, "text/css", "max-age=60")

    app = make_app(
        "console",
        [
            Route("GET", "/", index, None, "The whole loop on one page, for people"),
            Route("GET", "/console.css", css, None, "The page's style"),
        ],
        ring=None,
        clock=clock,
        ready=dict,
        hosts=hosts,
        version=version,
        metrics=metrics,
    )
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.template_folder = str(_HERE / "templates")
    return app


def _response(text: str, kind: str, cache: str) -> Response:
    response = Response(text, mimetype=kind)
    response.headers.update(_HEADERS)
    response.headers["Cache-Control"] = cache
    return response


def _check_peer(peers: Sequence[Network]) -> None:
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
        here = any(address in network for network in peers)
    except ValueError:
        here = False
    if not here:
        raise ServiceError("wrong_scope", "until there is sign-in, the console answers only on the machine it runs on")
