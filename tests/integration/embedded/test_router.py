"""The router as a process in front of real servers: streams, headers, limits, and services that come and go."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.testing.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_SECONDS = 20.0


class Upstream(BaseHTTPRequestHandler):
    """A service that shows what it was asked, and misbehaves on demand."""

    protocol_version = "HTTP/1.1"
    go_on: threading.Event
    client_left: threading.Event

    def do_GET(self) -> None:
        """Echo the request; `/v1/events` streams; `/v1/runs/broken` ends in the middle."""
        if self.path == "/v1/events":
            self._stream()
        elif self.path == "/v1/runs/broken":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True
        else:
            self._echo(0)

    def do_POST(self) -> None:
        """Count the body's bytes; `/v1/models/refused` answers 413 without reading any."""
        if self.path == "/v1/models/refused":
            self.send_response(413)
            self.send_header("Content-Length", "3")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"no\n")
            self.close_connection = True
        elif self.headers.get("Transfer-Encoding") == "chunked":
            self._echo(sum(len(chunk) for chunk in self._chunks()))
        else:
            left = int(self.headers["Content-Length"])
            total = left
            while left:
                left -= len(self.rfile.read(min(left, 65536)))
            self._echo(total)

    def do_DELETE(self) -> None:
        """Echo the request."""
        self._echo(0)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for text in (b"data: 1\n\n", b"data: 2\n\n"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            self.go_on.wait(DEADLINE_SECONDS)
        self.connection.settimeout(DEADLINE_SECONDS)
        if self.rfile.read(1) == b"":  # the router has closed its side
            self.client_left.set()
        self.close_connection = True

    def _echo(self, body_bytes: int) -> None:
        shown = {"method": self.command, "path": self.path, "headers": self.headers.items(), "body_bytes": body_bytes}
        body = json.dumps(shown).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """One service."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.accepted: list[socket.socket] = []

    def get_request(self) -> Any:
        """Accept a connection and remember it."""
        accepted, address = super().get_request()
        self.accepted.append(accepted)
        return accepted, address

    def drop_connections(self) -> None:
        """Close what clients keep open, as the end of a process does."""
        for accepted in self.accepted:
            with suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def ports() -> dict[str, int]:
    """Return a free port for the router and each service, by variable."""
    return {name: free_port() for name in ("ROUTER", "INGEST", "SCHEDULER", "PREDICTOR", "CONSOLE")}


def serve(port: int) -> Server:
    """Start a service in threads."""
    handler = type("Handler", (Upstream,), {"go_on": threading.Event(), "client_left": threading.Event()})
    server = Server(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


@pytest.fixture
def scheduler(ports: dict[str, int]) -> Iterator[Server]:
    """Run a service behind the scheduler's paths."""
    server = serve(ports["SCHEDULER"])
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def router(ports: dict[str, int], tmp_path: Any) -> Iterator[int]:
    """Run the real router; yield its port."""
    env = {f"TRAINYARD_{name}_PORT": str(port) for name, port in ports.items()}
    with (tmp_path / "router.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "trainyard_embedded.router"], env=env, stderr=log)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            status, _, _ = ask(ports["ROUTER"], "GET", "/readyz")
        except OSError:
            assert time.monotonic() < deadline, (tmp_path / "router.log").read_text()
            time.sleep(0.05)
        else:
            assert status == 200
            break
    yield ports["ROUTER"]
    process.terminate()
    assert process.wait(DEADLINE_SECONDS) == 0
    assert "Traceback" not in (tmp_path / "router.log").read_text()


def ask(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return status, headers and body of one request."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def test_a_request_arrives_as_it_was_sent(router: int, scheduler: Server) -> None:
    """Method, raw path and query, Host and the client's headers pass; hop-by-hop ones do not; the client is named."""
    path = "/v1/models/a%2Fb%20c?at=2026-01-01T00%3A00%3A00Z&x=%26"
    sent = {
        "Host": "trainyard.example:99",
        "Authorization": "Bearer ty_x",
        "Connection": "keep-alive, X-Secret",
        "X-Secret": "1",
        "X-Forwarded-For": "10.0.0.1",
        "Accept-Encoding": "identity",
    }
    status, headers, body = ask(router, "DELETE", path, headers=sent)
    shown = json.loads(body)
    arrived = dict(shown["headers"])
    assert (status, shown["method"], shown["path"]) == (200, "DELETE", path)
    assert arrived["Host"] == "trainyard.example:99"
    assert arrived["Authorization"] == "Bearer ty_x"
    assert arrived["X-Forwarded-For"] == "10.0.0.1, 127.0.0.1"
    assert "X-Secret" not in arrived
    assert "User-Agent" not in arrived
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]


def test_operations_reach_the_service_without_their_prefix(router: int, scheduler: Server) -> None:
    """`/-/scheduler/metrics` is the scheduler's `/metrics`; the router's own health is at the top."""
    assert json.loads(ask(router, "GET", "/-/scheduler/metrics")[2])["path"] == "/metrics"
    assert ask(router, "GET", "/healthz")[0] == 200


@pytest.mark.parametrize("chunked", [True, False])
def test_large_bodies_pass(router: int, scheduler: Server, chunked: bool) -> None:
    """A body far larger than any buffer arrives whole, with a length or in chunks."""
    block = b"x" * 65536
    headers = {} if chunked else {"Content-Length": str(len(block) * 320)}
    status, _, body = ask(router, "POST", "/v1/models", iter([block] * 320), headers)
    assert (status, json.loads(body)["body_bytes"]) == (200, len(block) * 320)


def test_connections_to_services_are_used_again(router: int, scheduler: Server) -> None:
    """Twenty requests one after another, with small bodies and without, travel over one connection."""
    for _ in range(10):
        assert ask(router, "POST", "/v1/models", b"{}")[0] == 200
        assert ask(router, "GET", "/v1/models")[0] == 200
    assert len(scheduler.accepted) == 1


def test_a_body_whose_head_alone_was_answered_spoils_no_other_request(router: int, scheduler: Server) -> None:
    """What follows an upload that was refused early is not taken for the rest of its body."""
    for _ in range(50):
        with closing(socket.create_connection(("127.0.0.1", router), DEADLINE_SECONDS)) as client:
            client.sendall(b"POST /v1/models/refused HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
            assert b" 413 " in client.recv(4096).split(b"\r\n")[0]
        assert ask(router, "GET", "/v1/models")[0] == 200


def test_an_early_refusal_reaches_the_client(router: int, scheduler: Server) -> None:
    """A service that answers 413 without reading the body is heard, although the client is still sending."""
    for _ in range(100):
        with closing(socket.create_connection(("127.0.0.1", router), DEADLINE_SECONDS)) as client:
            client.sendall(b"POST /v1/models/refused HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
            client.sendall(b"x" * 262144)
            assert b" 413 " in client.recv(4096).split(b"\r\n")[0]


def test_events_arrive_one_by_one_and_the_service_hears_that_the_client_left(router: int, scheduler: Server) -> None:
    """An event is passed on while the stream stays open; when the client goes, so does the router's connection."""
    handler: Any = scheduler.RequestHandlerClass
    with closing(http.client.HTTPConnection("127.0.0.1", router, timeout=DEADLINE_SECONDS)) as connection:
        connection.request("GET", "/v1/events")
        answer = connection.getresponse()
        assert answer.readline() == b"data: 1\n"
        handler.go_on.set()
        assert [answer.readline() for _ in range(2)] == [b"\n", b"data: 2\n"]
        answer.close()
    assert handler.client_left.wait(DEADLINE_SECONDS)


def test_an_answer_that_breaks_off_ends_the_connection(router: int, scheduler: Server) -> None:
    """The client can tell a broken answer from a whole one."""
    with pytest.raises(http.client.IncompleteRead):
        ask(router, "GET", "/v1/runs/broken")


def test_a_service_that_is_down_is_unavailable(router: int) -> None:
    """After the time of a restart the client gets 503 `unavailable` and a hint when to repeat."""
    status, headers, body = ask(router, "POST", "/v1/models", b"{}")
    assert (status, json.loads(body)["error"]["code"], headers["Retry-After"]) == (503, "unavailable", "1")


def test_a_service_that_restarts_is_waited_for(router: int, ports: dict[str, int]) -> None:
    """A request that comes while nobody listens is answered once the service is back, whatever its method."""
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(ask(router, "POST", "/v1/models", b"{}")[0]))
    asking.start()
    time.sleep(0.3)
    server = serve(ports["SCHEDULER"])
    asking.join(DEADLINE_SECONDS)
    server.shutdown()
    server.server_close()
    assert answers == [200]


def test_a_service_that_was_replaced_between_two_requests_is_found(router: int, ports: dict[str, int]) -> None:
    """A pooled connection to a process that has ended is not used again."""
    for _ in range(3):
        server = serve(ports["SCHEDULER"])
        assert [ask(router, "POST", "/v1/models", b"{}")[0] for _ in range(3)] == [200] * 3
        server.shutdown()
        server.server_close()
        server.drop_connections()


def test_what_is_not_http_is_refused_and_leaves_no_traceback(router: int) -> None:
    """Garbage is the client's fault: 400, one warning in the log, and the router lives on."""
    for garbage in (b"FOO / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nA: a\0b\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", router), timeout=10) as connection:
            connection.sendall(garbage)
            assert b" 400 " in connection.recv(4096).split(b"\r\n")[0]
    assert ask(router, "GET", "/healthz")[0] == 200


def test_heads_over_the_limit_are_refused(router: int, scheduler: Server) -> None:
    """4 KiB of URL and 16 KiB of headers are the most; more is a 4xx that says so."""
    status, _, body = ask(router, "GET", "/v1/models?" + "x" * 4096)
    assert (status, json.loads(body)["error"]["code"]) == (414, "uri_too_long")
    status, _, body = ask(router, "GET", "/v1/models", headers={f"X-{i}": "y" * 4000 for i in range(5)})
    assert (status, json.loads(body)["error"]["code"]) == (400, "bad_request")
    assert ask(router, "GET", "/v1/models?" + "x" * 4000)[0] == 200
