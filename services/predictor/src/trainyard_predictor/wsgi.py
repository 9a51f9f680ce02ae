"""Entry point for a WSGI server: ``gunicorn --worker-class gthread "trainyard_predictor.wsgi:app()"``.

The mapping between WSGI and the handler is all there is here; why no framework: docs/adr/0006-predictor-raw-wsgi.md.
"""

from __future__ import annotations

import atexit
import os
from http.client import responses
from typing import TYPE_CHECKING, Any

from trainyard import crashpoints, logs
from trainyard.config import load
from trainyard_predictor import bootstrap
from trainyard_predictor.handler import MAX_BODY_BYTES, Request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from trainyard_predictor.handler import Handler

_STALL_SECONDS = 10.0
_DISCARD_BYTES = 256 * 1024 * 1024
_BLOCK_BYTES = 64 * 1024


def app() -> WSGIApplication:
    """Read the environment and return the application; called in each worker process, after the fork."""
    environ = os.environ  # noqa: TID251 - an entry module
    config = load(environ)
    crashpoints.arm(environ)
    logs.configure("predictor", level=config.log_level)
    service = bootstrap.build(config, environ)
    crashpoints.crashpoint("K32")
    service.background.start()
    # a worker that was told to stop finishes its requests first and then leaves the interpreter in good order
    atexit.register(service.background.close)
    return wsgi_app(service.handler)


def wsgi_app(handler: Handler) -> WSGIApplication:
    """Return ``handler`` as a WSGI application."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = _request(environ)
        response = handler.handle(request)
        if request.rest is not None:
            _discard(request.rest)
        headers = [*response.headers.items(), ("Content-Length", str(len(response.body)))]
        start_response(f"{response.status} {responses.get(response.status, '')}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]

    return application


def _request(environ: WSGIEnvironment) -> Request:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    method = environ["REQUEST_METHOD"]
    body, rest = _body(environ, headers) if method == "POST" else (b"", None)
    return Request(method, path, environ.get("QUERY_STRING", ""), headers, body, rest=rest)


def _body(environ: WSGIEnvironment, headers: dict[str, str]) -> tuple[bytes, BinaryIO | None]:
    """Return the body, or as much as shows that it is too long or stopped half-way; and the rest of a long one."""
    stream: Any = environ["wsgi.input"]
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(_STALL_SECONDS)  # a client that stops sending must not keep the thread for ever
    stated = headers.get("content-length", "")
    data = b""
    try:
        if stated.isdigit() and len(stated) < 20:
            data = stream.read(min(int(stated), MAX_BODY_BYTES + 1))
        elif environ.get("wsgi.input_terminated"):  # chunked: the server knows where it ends
            data = stream.read(MAX_BODY_BYTES + 1)
    except TimeoutError:
        pass  # the handler sees that the body is not whole
    return data, stream if len(data) > MAX_BODY_BYTES else None


def _discard(stream: BinaryIO) -> None:
    """Throw away what no route has read of a body: a client that is still sending cannot read the refusal."""
    try:
        for _ in range(_DISCARD_BYTES // _BLOCK_BYTES):
            if not stream.read(_BLOCK_BYTES):
                return
    except TimeoutError:
        return  # it does not send any more either
