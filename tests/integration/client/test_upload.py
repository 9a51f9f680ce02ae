"""Uploads over a real socket: memory stays flat, and a connection that breaks is survived."""

from __future__ import annotations

import json
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trainyard_client import Client

MIB = 1024 * 1024


class Sink(BaseHTTPRequestHandler):
    """Takes bodies of known length and of chunks, counts their bytes; breaks connections when told to."""

    protocol_version = "HTTP/1.1"
    breaks = 0
    received: list[int]

    def do_POST(self) -> None:
        """Read the body and answer with a batch."""
        if type(self).breaks:
            type(self).breaks -= 1
            self.rfile.read(1000)
            self.close_connection = True
            self.connection.close()
            return
        type(self).received.append(self._read_body())
        answer = json.dumps({"id": "b"}).encode()
        self.send_response(201)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _read_body(self) -> int:
        if "Content-Length" in self.headers:
            left = total = int(self.headers["Content-Length"])
            while left:
                left -= len(self.rfile.read(min(left, 65536)))
            return total
        total = 0
        while size := int(self.rfile.readline(), 16):
            total += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return total

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def sink():
    """A server on the loopback; gives its handler class and address."""
    handler = type("OneSink", (Sink,), {"received": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # a broken connection is what some tests want
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


@pytest.mark.parametrize("known", [True, False])
def test_memory_does_not_grow_with_the_file(sink, tmp_path, known):
    """64 MiB from a file or from a stream pass through less than 8 MiB of memory."""
    handler, url = sink
    path = tmp_path / "rows.csv"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    with Client(url, None) as client, path.open("rb") as file:
        body = file if known else iter(lambda: file.read(65536), b"")
        tracemalloc.start()
        assert client.upload("d", body, "text/csv") == {"id": "b"}
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert handler.received == [64 * MIB]
    assert peak < 8 * MIB


def test_a_broken_connection_is_survived(sink, tmp_path):
    """The file is sent again from its start, whole."""
    handler, url = sink
    handler.breaks = 2
    path = tmp_path / "rows.csv"
    path.write_bytes(b"x" * 3 * MIB)
    with Client(url, None) as client, path.open("rb") as file:
        assert client.upload("d", file, "text/csv") == {"id": "b"}
    assert handler.received == [3 * MIB]
