"""One client's connection: bytes in, requests to the handler, answers out in the order of the requests.

llhttp (through httptools) reads HTTP/1.1 and refuses what two readers could understand differently: several lengths, a
length beside chunks, folded header lines, line ends that are none. What is refused here too: more than one Host, any
transfer coding but ``chunked``, a head that is too large, HTTP/0.9. A request that cannot be read becomes one with a
``fault``, so that the handler logs, counts and answers it like any other.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from functools import partial
from http.client import responses
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_to_bytes

import httptools

from trainyard.errors import ServiceError
from trainyard_predictor.exchange import MAX_BODY_BYTES, Request
from trainyard_predictor.protocols.routes import AT_ONCE, WAITS
from trainyard_predictor.web.upload import Upload

if TYPE_CHECKING:
    from trainyard_predictor.exchange import Response
    from trainyard_predictor.web.server import Server

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
#: From its first byte on, a head must have come within this time.
HEAD_SECONDS = 10.0
#: A body may pause as long as this, and take as long as that; one that is read while it comes, as long as it likes.
STALL_SECONDS, BODY_SECONDS = 10.0, 60.0
#: How long a client may leave its answers unread.
UNREAD_SECONDS = 30.0
#: What a client goes on sending after a refusal is thrown away: it could not read the refusal otherwise.
LINGER_SECONDS, LINGER_BYTES = 10.0, 256 * 1024 * 1024
#: Answers in a row before other connections have their turn.
_AT_ONCE = 8
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\nDate: " for status, reason in responses.items()}
_NAMES = {name.encode(): name.lower() for name in ("Host", "Authorization", "Content-Type", "Content-Length", "Accept",
          "User-Agent", "Accept-Encoding", "Connection", "X-Request-Id", "Idempotency-Key")}  # fmt: skip


class Connection(asyncio.Protocol):
    """What the loop calls is the transport's, what httptools calls (``on_…``) the parser's."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        #: requests that have arrived, and interim answers, in order
        self._ready: deque[tuple[Request, bool] | bytes] = deque()
        self._upload: Upload | None = None  # takes the rest of the body that is coming
        self._busy = False  # a thread has the request whose turn it is
        self._unread = False  # the client leaves its answers lying
        self._paused = False  # nothing is read for now
        self._ended = False  # the client will send nothing more
        self._deaf = False  # no further request is read
        self._lingers = False  # everything is answered, and the client still sends
        self._turn_is_due = False
        self._gone = False
        self.deadline = server.loop.time() + server.settings.keep_alive_seconds
        self._thrown_away = 0
        self._begin()
        self._in_message = False
        self._whole = b""  # what began with a request's first byte and came at once

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._in_message = True
        self._in_body = False
        self._body: bytes | bytearray = b""
        self._body_bytes = 0
        self._body_deadline = math.inf
        self._streams = False
        self._fault: ServiceError | None = None

    # --- the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own classes, and as complete
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        """Read what has come, and answer what is whole."""
        if self._deaf:
            self._throw_away(len(data))
            return
        known = None if self._in_message or self._server.full else self._server.heads.read(data)
        if known is not None:
            self._take(known)
            return
        self._whole = b"" if self._in_message else data
        if not self._in_body:
            self._head_bytes += len(data)  # of this message at most: counted anew as soon as it is complete
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True  # the request is answered as if it had not asked to speak another protocol
        except httptools.HttpParserError as e:
            fault = ServiceError("bad_request", f"the request is not HTTP as it is read here: {e}")
            if self._upload is not None:
                self._break_off(fault)
            elif not self._deaf:
                self._refuse(fault)
        if self._in_body:
            self.deadline = min(self._server.loop.time() + STALL_SECONDS, self._body_deadline)
        elif self._in_message and self._head_bytes > MAX_HEAD_BYTES and not self._deaf:
            self._refuse(_too_large_a_head())
        if self._ready and not self._busy:
            self._take_turn()
        else:
            self._pace()

    def _take(self, request: Request) -> None:
        """Take a request that has come whole and leaves the connection open."""
        server = self._server
        if not (self._ready or self._busy or self._unread or server.stopping) and server.pace(request) == AT_ONCE:
            self._transport.write(self._rendered(request, server.answer(request), keep=True))
            server.touched(self)
            self.deadline = server.loop.time() + server.settings.keep_alive_seconds
            return
        server.held_bytes += len(request.body)
        self._ready.append((request, True))
        self.deadline = math.inf
        self._pace() if self._busy else self._take_turn()

    def eof_received(self) -> bool:
        """Answer what has arrived, then close: a client may have shut its own side only."""
        self._ended = True
        self._break_off(TimeoutError("the client has stopped sending"))
        if self._in_message and not self._deaf:
            self._refuse(ServiceError("request_timeout", "the request ended before it was whole"))
        self._deaf = True
        if self._ready and not self._busy:
            self._take_turn()
        return self._busy or bool(self._ready)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is asyncio's
        """Forget everything."""
        self._gone = True
        self._break_off(TimeoutError("the client has gone"))
        self._deaf = True
        self._release(self._body_bytes)
        self._body_bytes = 0
        for item in self._ready:
            if not isinstance(item, bytes):
                self._let_go(item[0])
        self._ready.clear()
        self._server.closed(self)

    def pause_writing(self) -> None:
        """Answer nothing more before the client has read."""
        self._unread = True
        self.deadline = self._server.loop.time() + UNREAD_SECONDS

    def resume_writing(self) -> None:
        """Go on."""
        self._unread = False
        self._rest()
        if self._ready and not self._busy:
            self._take_turn()

    # --- the parser ---

    def on_message_begin(self) -> None:
        """Begin a request."""
        fed = self._head_bytes
        self._begin()
        self._head_bytes = fed
        self.deadline = self._server.loop.time() + HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer says nothing here."""
        if self._in_body:
            return
        key = _NAMES.get(name) or name.decode("latin-1").lower()
        headers = self._headers
        if key not in headers:
            headers[key] = value.decode("latin-1").strip()
            if len(headers) > MAX_HEADERS:
                self._fault = _too_large_a_head()
        elif key == "host":
            self._fault = ServiceError("bad_request", "the request has more than one Host")
        else:
            headers[key] += f", {value.decode('latin-1').strip()}"

    def on_headers_complete(self) -> None:
        """Look at the head as a whole."""
        headers = self._headers
        self._in_body = True
        coding = headers.get("transfer-encoding")
        version = self._parser.get_http_version()
        size = len(self._url) + sum(map(len, headers)) + sum(map(len, headers.values()))
        if size > MAX_HEAD_BYTES:
            self._fault = _too_large_a_head()
        elif version not in ("1.1", "1.0"):
            self._fault = ServiceError("bad_request", f"HTTP/{version} is not spoken here")
        elif coding is not None and (coding.lower() != "chunked" or version == "1.0"):
            self._fault = ServiceError("bad_request", "the only transfer coding that is read is chunked, in HTTP/1.1")
        elif "host" not in headers and version == "1.1":
            self._fault = ServiceError("bad_request", "the request has no Host")
        if self._fault is not None:
            self._refuse(self._fault)
            return
        too_long = int(headers.get("content-length", "0")) > MAX_BODY_BYTES
        self._streams = (too_long or coding is not None) and self._server.streams(self._request())
        if too_long and not self._streams:
            self._cut_short()
        elif "expect" in headers and headers["expect"].lower() == "100-continue" and version == "1.1":
            self._ready.append(_CONTINUE)
        if not self._streams:
            self._body_deadline = self._server.loop.time() + BODY_SECONDS

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        if self._deaf:
            return
        if self._upload is not None:
            self._server.held_bytes += len(part)
            self._upload.feed(part)
            return
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytes):
            self._body = bytearray(self._body + part)  # grows in place from now on
        else:
            self._body += part
        self._body_bytes += len(part)
        self._server.held_bytes += len(part)
        if self._body_bytes > MAX_BODY_BYTES and self._streams:
            self._hand_over()
        elif self._body_bytes > MAX_BODY_BYTES:
            self._cut_short()
        elif self._server.full:
            self._refuse(ServiceError("unavailable", "too many large requests at once", retry_after_seconds=1))

    def on_message_complete(self) -> None:
        """Take a request that has come whole."""
        if self._deaf:
            return
        keep = self._parser.should_keep_alive()
        if self._upload is None:
            request = self._request()
            self._ready.append((request, keep))
            if keep and self._whole:
                self._server.heads.remember(self._whole, request)
        else:
            self._upload.end(keep=keep)
            self._upload = None
        self._body_bytes = self._head_bytes = 0
        self._in_message = self._in_body = False
        self.deadline = math.inf
        self._deaf = not keep

    # --- requests ---

    def _request(self, fault: ServiceError | None = None, rest: Upload | None = None) -> Request:
        url = self._url
        if url[:1] not in (b"/", b"*") and b"://" in url:
            url = b"/" + url.partition(b"://")[2].partition(b"/")[2]
        path, _, query = url.partition(b"#")[0].partition(b"?")
        if b"%" in path:
            path = unquote_to_bytes(path)
        method = self._parser.get_method().decode("latin-1") if self._url else ""
        body = bytes(self._body)
        if method != "POST":
            self._release(len(body))
            body = b""
        return Request(
            method, path.decode("utf-8", "replace"), query.decode("latin-1"), self._headers, body, None, rest, fault
        )

    def _cut_short(self) -> None:
        """Have a request answered whose body is too long, without reading it to its end."""
        self._ready.append((self._request(), False))
        self._body_bytes = 0
        self._deaf = True

    def _hand_over(self) -> None:
        """Have a request answered while the rest of its body comes."""
        loop = self._server.loop
        self._upload = Upload(lambda n_bytes: loop.call_soon_threadsafe(self._taken, n_bytes))
        self._ready.append((self._request(rest=self._upload), True))
        self._body, self._body_bytes = b"", 0

    def _taken(self, n_bytes: int) -> None:
        """Read on: a thread has taken some of an upload."""
        self._release(n_bytes)
        if not self._gone:
            self._pace()

    def _break_off(self, fault: Exception) -> None:
        """End an upload that will not be whole, and with it the connection."""
        if self._upload is not None:
            self._upload.fail(fault)
            self._upload = None
            self._deaf = True

    def _refuse(self, fault: ServiceError) -> None:
        """Have a request answered that cannot be read: it is the last one."""
        self._release(self._body_bytes)
        self._body, self._body_bytes = b"", 0
        self._ready.append((self._request(fault), False))
        self._deaf = True

    def _release(self, n_bytes: int) -> None:
        self._server.held_bytes -= n_bytes

    def _let_go(self, request: Request) -> None:
        unread = request.rest.discard() if isinstance(request.rest, Upload) else 0
        self._release(len(request.body) + unread)

    def _take_turn(self) -> None:
        """Answer some of the requests that have come; the rest, if any, when others have had their turn."""
        self._turn_is_due = False
        server, ready, out = self._server, self._ready, []
        for _ in range(_AT_ONCE):
            if not ready or self._unread or self._gone or self._busy:
                break
            item = ready.popleft()
            if isinstance(item, bytes):
                out.append(item)
                continue
            request, keep = item
            pace = WAITS if request.rest is not None else server.pace(request)
            if pace != AT_ONCE:
                self._busy = True
                server.answer_later(request, pace).add_done_callback(partial(self._answered, request, keep))
                break
            self._release(len(request.body))
            out.append(self._rendered(request, server.answer(request), keep=keep))
        if out:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            server.touched(self)
        self._rest()

    def _answered(self, request: Request, keep: bool, done: asyncio.Future[Response]) -> None:
        """Send what a thread has answered."""
        self._busy = False
        self._let_go(request)
        if self._gone or done.cancelled():
            return
        if isinstance(request.rest, Upload):
            # the rest of what was refused is thrown away like that of any other refusal
            self._break_off(TimeoutError("nobody reads the rest"))
            keep = request.rest.keep
            self._deaf |= not keep
        self._transport.write(self._rendered(request, done.result(), keep=keep))
        self._server.touched(self)
        if self._in_message and not self._unread:  # the next request, whose sender had to wait
            self.deadline = self._server.loop.time() + HEAD_SECONDS
        self._rest()

    def _rendered(self, request: Request, response: Response, *, keep: bool) -> bytes:
        if self._server.stopping and not self._ready:
            keep, self._deaf = False, True
        said = "" if keep else "Connection: close\r\n"
        if keep and request.headers.get("connection", "").lower() == "keep-alive":
            said = "Connection: keep-alive\r\n"  # HTTP/1.0 wants to be told
        lines = "".join([f"{name}: {value}\r\n" for name, value in response.headers.items()])
        length = len(response.body)
        status = _STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\nDate: "
        head = f"{status}{self._server.date}\r\n{lines}Content-Length: {length}\r\n{said}\r\n".encode(
            "latin-1", "replace"
        )
        return head if request.method == "HEAD" else head + response.body

    def _rest(self) -> None:
        """See what is to be done next: another turn, the end, or the wait for a request."""
        if self._gone:
            return
        self._pace()
        if self._busy or self._unread:
            return
        if self._ready:
            if not self._turn_is_due:
                self._turn_is_due = True
                self._server.loop.call_soon(self._take_turn)
        elif self._deaf:
            self._end()
        elif not self._in_message:
            self.deadline = self._server.loop.time() + self._server.settings.keep_alive_seconds

    def _pace(self) -> None:
        """Read no more than is answered, and of an upload no more than is taken."""
        behind = self._busy or bool(self._ready) if self._upload is None else self._upload.full
        pause = behind or self._unread
        if pause != self._paused and not self._ended:
            self._paused = pause
            self._transport.pause_reading() if pause else self._transport.resume_reading()
            if self._upload is not None and not self._unread:  # whose turn it is has changed
                self.deadline = math.inf if pause else self._server.loop.time() + STALL_SECONDS

    # --- the end ---

    def _end(self) -> None:
        """Say that this was all; a client that still sends is let finish, or it could not read its last answer."""
        if self._lingers:
            return
        self._lingers = True
        self.deadline = self._server.loop.time() + LINGER_SECONDS
        if self._in_message and not self._ended:
            self._transport.write_eof()
        else:
            self._transport.close()

    def _throw_away(self, n_bytes: int) -> None:
        self._thrown_away += n_bytes
        if self._thrown_away > LINGER_BYTES:
            self._transport.abort()

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn."""
        return not self._busy and not self._ready

    def expire(self) -> None:
        """End what has taken too long: in silence where nothing was begun, else with a word."""
        if self._unread or self._lingers:
            self._transport.abort()
            return
        if self._upload is not None and not self._paused:
            self._break_off(TimeoutError("the client has stopped sending"))
        if self._busy or self._ready:  # it is our turn
            self.deadline = math.inf
            return
        if not self._in_message:
            self._transport.close()
            return
        length = self._headers.get("content-length")
        said = f"the body stopped after {self._body_bytes} of {length or 'unknown'} bytes"
        self._refuse(ServiceError("request_timeout", said if self._in_body else "the head of the request did not come"))
        self._take_turn()

    def finish(self) -> None:
        """Close as soon as nothing is left to answer."""
        if not self._in_message and self.waits:
            self._transport.close()

    def abort(self) -> None:
        """Close now; the loop may end before it says that the connection is lost."""
        self._break_off(TimeoutError("the server stops"))
        self._transport.abort()


def _too_large_a_head() -> ServiceError:
    said = f"the head of a request has at most {MAX_HEAD_BYTES:,} bytes and {MAX_HEADERS} headers"
    return ServiceError("headers_too_large", said)
