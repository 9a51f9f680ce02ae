"""How the console reads the services' APIs over real sockets: every failure is a reason, none an exception."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from trainyard.testing.processes import free_port
from trainyard_console.edges import HttpApi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Service(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        """Say what the path asks for; /key says which key came along."""
        status, body = {
            "/key": (200, json.dumps({"key": self.headers["Authorization"]}).encode()),
            "/readyz": (503, b'{"ready":false,"needs":{}}'),
            "/refused": (403, b"{}"),
            "/broken": (500, b"{}"),
            "/moved": (302, b""),
            "/text": (200, b"hello"),
            "/nan": (200, b'{"x":NaN}'),
            "/huge": (200, b" " * 5_000_000),
        }.get(self.path, (404, b"{}"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "http://192.0.2.1/")
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            return  # the reader has seen enough

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class has
        """Stay quiet."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[HttpApi]:
    """The API of one running and one dead service."""
    key_file = tmp_path / "key"
    key_file.write_text("ty_secret\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        urls = {"up": f"http://127.0.0.1:{server.server_port}", "dead": f"http://127.0.0.1:{free_port()}"}
        yield HttpApi(urls, key_file)
        server.shutdown()
        thread.join(10)


def test_the_key_travels(api: HttpApi) -> None:
    """Questions carry the key of the file; readiness needs none and may be 503."""
    assert api.get("up", "/key").value == {"key": "Bearer ty_secret"}
    assert api.get("up", "/readyz").value == {"ready": False, "needs": {}}


@pytest.mark.parametrize(
    ("service", "path", "reason"),
    [
        ("dead", "/key", "does not answer"),
        ("up", "/nothing", "has no such page"),
        ("up", "/refused", "refuses the console's API key"),
        ("up", "/broken", "answers 500"),
        ("up", "/moved", "answers 302"),
        ("up", "/text", "answers something unexpected"),
        ("up", "/nan", "answers something unexpected"),
        ("up", "/huge", "answers more than a page can show"),
    ],
)
def test_failures_are_reasons(api: HttpApi, service: str, path: str, reason: str) -> None:
    """What goes wrong is said in words that can stand on the page."""
    assert api.get(service, path).missing == reason


def test_without_a_key_nothing_is_asked(tmp_path: Path) -> None:
    """No file, or an empty one: the page says which setting is missing."""
    for key_file in (None, tmp_path / "absent"):
        missing = HttpApi({"up": "http://127.0.0.1:1"}, key_file).get("up", "/key").missing
        assert missing is not None
        assert "TRAINYARD_CONSOLE_KEY_FILE" in missing
