"""Instance metadata (IMDSv2) for every instance of this host, each under a path of its own.

``http://127.0.0.1:1338/<instance id>`` stands for the ``http://169.254.169.254`` that a real instance sees. Version 1
(without a token) is refused, as on instances launched with ``HttpTokens=required``.
"""

from __future__ import annotations

import json
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.clock import Clock
    from trainyard_ec2host.domain import Machine

_TOKEN_PATH = "latest/api/token"  # noqa: S105 - a path, not a secret
_MOST_TTL_SECONDS = 21_600
_ACCOUNT = "000000000000"


class MetadataStore:
    """What the instances may ask, and the tokens they ask with. Shared by the host's loop and the server's threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._machines: dict[str, Machine] = {}
        self._tokens: dict[str, tuple[str, float]] = {}

    def publish(self, machines: Mapping[str, Machine]) -> None:
        """Answer for these instances from now on, and for no others."""
        with self._lock:
            self._machines = dict(machines)
            now = self._clock.monotonic()
            self._tokens = {t: (i, end) for t, (i, end) in self._tokens.items() if end > now and i in machines}

    def knows(self, instance_id: str) -> bool:
        """Tell whether the instance runs."""
        with self._lock:
            return instance_id in self._machines

    def new_token(self, instance_id: str, ttl_seconds: int) -> str:
        """Return a token that opens the instance's metadata for ``ttl_seconds``."""
        token = secrets.token_urlsafe(42)
        with self._lock:
            self._tokens[token] = (instance_id, self._clock.monotonic() + ttl_seconds)
        return token

    def opens(self, instance_id: str, token: str | None) -> bool:
        """Tell whether a token is live and this instance's own."""
        with self._lock:
            owner, end = self._tokens.get(token or "", ("", 0.0))
            return owner == instance_id and end > self._clock.monotonic()

    def read(self, instance_id: str, path: str) -> str | None:
        """Return the text under a path such as ``latest/meta-data/instance-id``, or None when there is none."""
        with self._lock:
            machine = self._machines.get(instance_id)
        return None if machine is None else _documents(machine).get(path.rstrip("/"))


def _documents(machine: Machine) -> dict[str, str]:
    region = machine.zone.rstrip("abcdef")
    documents = {
        "latest/meta-data/instance-id": machine.instance_id,
        "latest/meta-data/instance-type": machine.instance_type,
        "latest/meta-data/ami-id": machine.image_id,
        "latest/meta-data/local-ipv4": machine.private_ip,
        "latest/meta-data/instance-life-cycle": "spot" if machine.spot else "on-demand",
        "latest/meta-data/placement/availability-zone": machine.zone,
        "latest/meta-data/placement/region": region,
        "latest/dynamic/instance-identity/document": json.dumps(
            {
                "accountId": _ACCOUNT,
                "availabilityZone": machine.zone,
                "imageId": machine.image_id,
                "instanceId": machine.instance_id,
                "instanceType": machine.instance_type,
                "privateIp": machine.private_ip,
                "region": region,
                "version": "2017-09-30",
            }
        ),
    }
    if machine.interrupt_at is not None:
        at = machine.interrupt_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        documents["latest/meta-data/spot/instance-action"] = json.dumps({"action": "terminate", "time": at})
    return documents


class MetadataServer(ThreadingHTTPServer):
    """Serves a store on a port of the loopback."""

    daemon_threads = True

    def __init__(self, port: int, store: MetadataStore) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.store = store

    def start(self) -> None:
        """Serve in a thread of its own."""
        threading.Thread(target=self.serve_forever, name="imds", daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MetadataServer
    timeout = 10

    def do_PUT(self) -> None:
        """Give a token."""
        instance_id, path = self._target()
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if path != _TOKEN_PATH or not self.server.store.knows(instance_id):
            self._answer(HTTPStatus.NOT_FOUND)
        elif "X-Forwarded-For" in self.headers:  # EC2 refuses them too: a proxy is asking, not the instance
            self._answer(HTTPStatus.FORBIDDEN)
        elif not (ttl.isascii() and ttl.isdigit() and len(ttl) <= 5 and 1 <= int(ttl) <= _MOST_TTL_SECONDS):
            self._answer(HTTPStatus.BAD_REQUEST)
        else:
            self._answer(HTTPStatus.OK, self.server.store.new_token(instance_id, int(ttl)), ttl)

    def do_GET(self) -> None:
        """Answer one document to who has a token."""
        if self.path == "/healthz":
            self._answer(HTTPStatus.OK, "ok")
            return
        instance_id, path = self._target()
        if not self.server.store.opens(instance_id, self.headers.get("X-aws-ec2-metadata-token")):
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        document = self.server.store.read(instance_id, path)
        self._answer(HTTPStatus.NOT_FOUND if document is None else HTTPStatus.OK, document or "")

    def _target(self) -> tuple[str, str]:
        instance_id, _, path = self.path.split("?", 1)[0].removeprefix("/").partition("/")
        return instance_id, path

    def _answer(self, status: HTTPStatus, text: str = "", ttl: str | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if ttl is not None:
            self.send_header("X-aws-ec2-metadata-token-ttl-seconds", ttl)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing: trainers ask every few seconds."""
