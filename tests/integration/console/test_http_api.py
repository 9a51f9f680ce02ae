"""How the console reads the services' APIs over real sockets: every failure is a reason, none an exception."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from trainyard.errors import Problem, ServiceError
from trainyard.testing.processes import free_port
from trainyard_console.edges import HttpApi

if TYPE_CHECKING:
    from collections.abc import Iterator


class Service(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        """Say what the path asks for; /key says which key came along."""
        status, body = {
            "/v1/events": (200, b": still here\n\nid: 7\nevent: run.ended\ndata: {}\n\n"),
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

    def do_POST(self) -> None:
        """Accept /made, refuse /taken in our form and /odd in another."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = {
            "/made": (201, {"got": body.decode(), "repeat": self.headers["Idempotency-Key"]}),
            "/taken": (409, ServiceError("conflict", "taken", [Problem(1, "a", "b", "c")]).as_dict()),
        }.get(self.path, (500, {"detail": "odd"}))
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class has
        """Stay quiet."""


@pytest.fixture
def api() -> Iterator[HttpApi]:
    """The API of one running and one dead service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        up = f"http://127.0.0.1:{server.server_port}"
        yield HttpApi({"up": up, "scheduler": up, "dead": f"http://127.0.0.1:{free_port()}"})
        server.shutdown()
        thread.join(10)


def test_the_key_travels(api: HttpApi) -> None:
    """Questions carry the visitor's key; readiness needs none and may be 503."""
    assert api.get("up", "/key", "ty_secret").value == {"key": "Bearer ty_secret"}
    assert api.get("up", "/readyz", None).value == {"ready": False, "needs": {}}


@pytest.mark.parametrize(
    ("service", "path", "reason"),
    [
        ("dead", "/key", "does not answer"),
        ("up", "/nothing", "has no such thing"),
        ("up", "/refused", "does not show this to your API key"),
        ("up", "/broken", "answers 500"),
        ("up", "/moved", "answers 302"),
        ("up", "/text", "answers something unexpected"),
        ("up", "/nan", "answers something unexpected"),
        ("up", "/huge", "answers more than a page can show"),
    ],
)
def test_failures_are_reasons(api: HttpApi, service: str, path: str, reason: str) -> None:
    """What goes wrong is said in words that can stand on the page."""
    assert api.get(service, path, "ty_secret").missing == reason


def test_changes_are_sent_and_refusals_come_back_as_they_were(api: HttpApi) -> None:
    """JSON with its idempotency key, or a file; a refusal has the service's code and details, or says it has none."""
    assert api.send("POST", "up", "/made", "ty_x", body={"a": 1}, repeat="r") == {"got": '{"a": 1}', "repeat": "r"}
    assert api.upload("up", "/made", "ty_x", b"a,b\n", "text/csv") == {"got": "a,b\n", "repeat": None}
    with pytest.raises(ServiceError) as refused:
        api.send("POST", "up", "/taken", "ty_x", body={})
    assert (refused.value.code, refused.value.message) == ("conflict", "taken")
    assert refused.value.details == [Problem(1, "a", "b", "c")]
    for service, path in (("up", "/odd"), ("dead", "/made")):
        with pytest.raises(ServiceError) as odd:
            api.send("POST", service, path, "ty_x", body={})
        assert odd.value.code == "unavailable"


def test_events_are_kinds_and_signs_of_life(api: HttpApi) -> None:
    """Each event's kind, an empty one for each comment; the content does not come along."""
    assert list(api.events("ty_x")) == ["", "run.ended"]
