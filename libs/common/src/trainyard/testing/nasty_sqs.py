"""An HTTP shim before the AWS emulator that makes SQS as unkind as the real one may be.

Emulators deliver each message once, in order, and never fail. Point ``AWS_ENDPOINT_URL`` at the shim instead, and SQS
calls meet the faults of :class:`Nastiness`; every other request (S3, EC2) passes through untouched. Chances are drawn
from one seeded generator, so a single client meets the same faults again.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from trainyard.testing.guard import only_in_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TARGET = "AmazonSQS."
_UPSTREAM_SECONDS = 60
_HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "keep-alive"}
_JSON = {"Content-Type": "application/x-amz-json-1.0"}


@dataclass(frozen=True)
class Nastiness:
    """The chance of each fault, 0 to 1, for each message or call that it can strike."""

    redeliver: float = 0.0
    """A received message is delivered once more, even after it was deleted."""
    reorder: float = 0.0
    """A received message is kept back until a later receive; the others are shuffled."""
    delay: float = 0.0
    """A sent message becomes visible up to ``delay_seconds`` (whole seconds, at least 1) later."""
    delay_seconds: int = 3
    delay_delete: float = 0.0
    """A delete is confirmed at once and done ``delete_delay_seconds`` later."""
    delete_delay_seconds: float = 0.5
    unavailable: float = 0.0
    """A call is answered with 503 before anything happens."""
    throttle: float = 0.0
    """A call is answered with RequestThrottled before anything happens."""
    fail_entries: float = 0.0
    """A message of a batch is not sent and stands under ``Failed`` in an answer of 200."""
    lie: float = 0.0
    """The approximate counts are anything from nothing to twice the truth."""
    lose_reply: float = 0.0
    """A call is done, and the connection breaks instead of answering."""


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body or b"{}"))

    def with_json(self, content: Mapping[str, Any]) -> _Reply:
        return replace(self, body=json.dumps(content).encode())


class NastySqs:
    """``with NastySqs(emulator_endpoint, Nastiness(...)) as shim`` listens on ``shim.endpoint``.

    ``shim.counts`` says how often each fault struck; ``shim.nastiness`` may be replaced at any time.
    """

    def __init__(self, upstream: str, nastiness: Nastiness | None = None, *, seed: int = 0) -> None:
        only_in_tests("the nasty SQS")
        self.nastiness = nastiness or Nastiness()
        self.counts: Counter[str] = Counter()
        self._upstream = urlsplit(upstream)
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._lock = threading.Lock()
        self._lose: Counter[str] = Counter()
        self._copies: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._timers: list[threading.Timer] = []
        self._failures: list[BaseException] = []
        self._server = _server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="nasty-sqs", daemon=True)

    @property
    def endpoint(self) -> str:
        """The address for boto3."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.settle()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self._failures:
            raise self._failures[0]

    def lose_next(self, action: str, *, times: int = 1) -> None:
        """Do the next ``times`` calls of ``action`` (such as "SendMessageBatch"), but lose their answers.

        boto3 repeats a call by itself: to have the caller see it fail, lose as many answers as it makes attempts.
        """
        with self._lock:
            self._lose[action] += times

    def settle(self) -> None:
        """Wait until every delayed delete is done."""
        for timer in self._timers:
            timer.join()
        self._timers.clear()

    # --- called by the request handler ---

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> _Reply | None:
        """Return what the client gets; None when the answer is lost."""
        target = next((v for k, v in headers.items() if k.lower() == "x-amz-target"), "")
        if not target.startswith(_TARGET):
            return self._forward(method, path, headers, body)
        action = target.removeprefix(_TARGET)
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        reply = self._sqs(action, path, headers, json.loads(body))
        return None if self._is_lost(action) else reply

    def failed(self, error: BaseException) -> None:
        """Keep an unexpected failure of the shim itself for the end of the block."""
        self._failures.append(error)

    def _sqs(self, action: str, path: str, headers: Mapping[str, str], asked: dict[str, Any]) -> _Reply:
        def forward(content: Mapping[str, Any]) -> _Reply:
            return self._forward("POST", path, headers, json.dumps(content).encode())

        match action:
            case "SendMessageBatch":
                failed = [entry for entry in asked["Entries"] if self._strikes("fail_entries")]
                return self._sent(asked, failed, forward)
            case "SendMessage":
                return forward(self._delayed(asked))
            case "ReceiveMessage":
                return self._received(asked, forward)
            case "DeleteMessage" if self._strikes("delay_delete"):
                timer = threading.Timer(self.nastiness.delete_delay_seconds, forward, [asked])
                self._timers.append(timer)
                timer.start()
                return _Reply(200, _JSON, b"{}")
            case "GetQueueAttributes" if self._strikes("lie"):
                reply = forward(asked)
                return reply.with_json(self._lied(reply.json())) if reply.status == 200 else reply
            case _:
                return forward(asked)

    def _sent(
        self, asked: dict[str, Any], failed: list[dict[str, Any]], forward: Callable[[Mapping[str, Any]], _Reply]
    ) -> _Reply:
        kept = [self._delayed(entry) for entry in asked["Entries"] if entry not in failed]
        reply = forward({**asked, "Entries": kept}) if kept else _Reply(200, _JSON, b"{}")
        if not failed or reply.status != 200:
            return reply
        content = reply.json()
        refused = [
            {"Id": entry["Id"], "Code": "InternalError", "Message": "injected", "SenderFault": False}
            for entry in failed
        ]
        return reply.with_json({**content, "Failed": [*content.get("Failed", []), *refused]})

    def _delayed(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message or an entry of a batch, perhaps with a delay; one that has a longer delay keeps it."""
        if not self._strikes("delay"):
            return message
        with self._lock:
            seconds = self._random.randint(1, self.nastiness.delay_seconds)
        return {**message, "DelaySeconds": max(seconds, int(message.get("DelaySeconds", 0)))}

    def _received(self, asked: dict[str, Any], forward: Callable[[Mapping[str, Any]], _Reply]) -> _Reply:
        queue, limit = asked["QueueUrl"], int(asked.get("MaxNumberOfMessages", 1))
        with self._lock:
            late, self._copies[queue] = self._copies[queue][:limit], self._copies[queue][limit:]
        room = limit - len(late)
        reply = _Reply(200, _JSON, b"{}")
        if room:
            wait = {"WaitTimeSeconds": 0} if late else {}
            reply = forward({**asked, "MaxNumberOfMessages": room, **wait})
            if reply.status != 200:
                with self._lock:
                    self._copies[queue] += late
                return reply
        fresh = reply.json().get("Messages", [])
        kept_back = [message for message in fresh if self._strikes("reorder")]
        again = [_copy(message) for message in fresh if message not in kept_back and self._strikes("redeliver")]
        messages = [message for message in fresh if message not in kept_back] + late
        with self._lock:
            self._copies[queue] += kept_back + again
            if kept_back or again:
                self._random.shuffle(messages)
        return reply.with_json({"Messages": messages} if messages else {})

    def _lied(self, content: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            attributes = {
                name: str(self._random.randint(0, 2 * int(value) + 1)) if name.startswith("Approximate") else value
                for name, value in content.get("Attributes", {}).items()
            }
        return {**content, "Attributes": attributes}

    def _refusal(self) -> _Reply | None:
        if self._strikes("unavailable"):
            return _Reply(503, {"Content-Type": "text/plain"}, b"Service Unavailable")
        if self._strikes("throttle"):
            headers = {**_JSON, "x-amzn-query-error": "RequestThrottled;Sender"}
            return _Reply(400, headers, b'{"__type": "com.amazonaws.sqs#RequestThrottled", "message": "injected"}')
        return None

    def _is_lost(self, action: str) -> bool:
        with self._lock:
            ordered = self._lose[action] > 0
            self._lose[action] -= ordered
            self.counts["lose_reply"] += ordered
        return ordered or self._strikes("lose_reply")

    def _strikes(self, fault: str) -> bool:
        chance: float = getattr(self.nastiness, fault)
        with self._lock:
            struck = chance > 0 and self._random.random() < chance
            self.counts[fault] += struck
        return struck

    def _forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> _Reply:
        host, port = self._upstream.hostname or "127.0.0.1", self._upstream.port
        connection = http.client.HTTPConnection(host, port, timeout=_UPSTREAM_SECONDS)
        try:
            sent = {k: v for k, v in headers.items() if k.lower() not in {*_HOP_HEADERS, "expect"}}
            connection.request(method, path, body, {**sent, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            return _Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()


def _copy(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message as a second delivery of it looks."""
    attributes = dict(message.get("Attributes", {}))
    if "ApproximateReceiveCount" in attributes:
        attributes["ApproximateReceiveCount"] = str(int(attributes["ApproximateReceiveCount"]) + 1)
    return {**message, "Attributes": attributes}


def _server(shim: NastySqs) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def handle_request(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:  # the client was killed in the middle of its call
                self.close_connection = True
                return
            reply = shim.answer(self.command, self.path, dict(self.headers.items()), body)
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                if name.lower() not in _HOP_HEADERS:
                    self.send_header(name, value)
            # The answer to a HEAD gives the length of a body that it does not carry.
            size = reply.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(reply.body))
            self.send_header("Content-Length", size)
            self.end_headers()
            self.wfile.write(reply.body)

        def handle_expect_100(self) -> bool:
            going_on = super().handle_expect_100()
            self.wfile.flush()  # else the client waits a second for the word that it may send its body
            return going_on

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request  # noqa: N815 - named by the library

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            error = sys.exception()
            if error is not None and not isinstance(error, ConnectionError):
                shim.failed(error)

    return Server(("127.0.0.1", 0), Handler)
