"""A fake EC2 instance metadata service, version 2: a token is required, spot notices come when a test says so.

Each instance has a path of its own, :meth:`FakeImds.url`, which stands for the ``http://169.254.169.254`` that a real
instance sees; give it to a trainer as ``AWS_EC2_METADATA_SERVICE_ENDPOINT``.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from trainyard.clock import SystemClock
from trainyard.testing.guard import only_in_tests

_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_MOST_TTL_SECONDS = 21_600
#: EC2 gives a notice two minutes before the end, at best.
NOTICE_SECONDS = 120.0
_clock = SystemClock()


class FakeImds:
    """``with FakeImds() as imds``: instances by :meth:`add`, notices by :meth:`notice`; ``counts`` by status."""

    def __init__(self) -> None:
        only_in_tests("the fake instance metadata service")
        self.counts: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._documents: dict[str, dict[str, str]] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._server = _server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="imds", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, instance_id: str) -> str:
        """Return the address that the instance asks."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{instance_id}"

    def add(self, instance_id: str, *, instance_type: str = "c7i.large") -> str:
        """Answer for one more spot instance; return its address."""
        with self._lock:
            self._documents[instance_id] = {
                "latest/meta-data/instance-id": instance_id,
                "latest/meta-data/instance-type": instance_type,
                "latest/meta-data/instance-life-cycle": "spot",
            }
        return self.url(instance_id)

    def notice(self, *instance_ids: str, seconds: float = NOTICE_SECONDS) -> None:
        """Announce that the instances will be ended in ``seconds``."""
        at = (_clock.now() + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = json.dumps({"action": "terminate", "time": at})
        with self._lock:
            for instance_id in instance_ids:
                self._documents[instance_id]["latest/meta-data/spot/instance-action"] = text

    def withdraw(self, *instance_ids: str) -> None:
        """Take notices back, as for new instances under old names."""
        with self._lock:
            for instance_id in instance_ids:
                self._documents[instance_id].pop("latest/meta-data/spot/instance-action", None)

    # --- called by the request handler ---

    def token(self, instance_id: str, path: str, ttl: str) -> tuple[int, str]:
        """Return status and body for a PUT."""
        with self._lock:
            if path != "latest/api/token" or instance_id not in self._documents:
                return 404, ""
            if not (ttl.isascii() and ttl.isdigit() and 1 <= int(ttl) <= _MOST_TTL_SECONDS):
                return 400, ""
            token = secrets.token_urlsafe(30)
            self._tokens[token] = (instance_id, _clock.monotonic() + int(ttl))
            return 200, token

    def document(self, instance_id: str, path: str, token: str) -> tuple[int, str]:
        """Return status and body for a GET."""
        with self._lock:
            owner, end = self._tokens.get(token, ("", 0.0))
            if owner != instance_id or end <= _clock.monotonic():
                return 401, ""
            text = self._documents[instance_id].get(path)
            return (404, "") if text is None else (200, text)


def _server(imds: FakeImds) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet
        timeout = 10

        def do_PUT(self) -> None:
            self._answer(*imds.token(*self._target(), self.headers.get(_TTL, "")))

        def do_GET(self) -> None:
            self._answer(*imds.document(*self._target(), self.headers.get("X-aws-ec2-metadata-token", "")))

        def _target(self) -> tuple[str, str]:
            instance_id, _, path = self.path.removeprefix("/").partition("/")
            return instance_id, path

        def _answer(self, status: int, text: str) -> None:
            imds.counts[status] += 1
            self.send_response(status)
            if _TTL in self.headers:
                self.send_header(_TTL, self.headers[_TTL])
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    return Server(("127.0.0.1", 0), Handler)
