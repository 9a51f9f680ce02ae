"""A connection that speaks the part of HTTP/1.1 which AWS's services need.

The standard library's ``http.client`` imports the e-mail package for its headers, 20 ms of every cold start. Here a
header is a line, an answer ends where its length or its last chunk says, and everything else is an error.
"""

from __future__ import annotations

import functools
import select
import socket

from trainyard.errors import ConfigError
from trainyard.frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ssl import SSLContext
    from typing import Any

_MAX_LINE_BYTES = 16 * 1024
_MAX_HEADERS = 100
_NO_BODY = {204, 304}


class BrokenAnswerError(OSError):
    """What came is no answer in HTTP, or ended before its end."""


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Address:
    """Where a service listens."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> Address:
        """Read ``http(s)://host[:port]``; raises ConfigError for anything else."""
        scheme, _, rest = url.partition("://")
        authority, _, path = rest.partition("/")
        host, colon, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
        host = host if colon else authority
        if scheme not in {"http", "https"} or path or not host or "@" in authority or (colon and not port.isdecimal()):
            raise ConfigError(f"the endpoint {url!r} is not of the form http://host:port or https://host")
        return cls(host.strip("[]"), int(port) if colon else (443 if scheme == "https" else 80), scheme == "https")

    @property
    def header(self) -> str:
        """The ``Host`` header: without the port where it goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@functools.cache
def _trust() -> SSLContext:
    """Return what every connection is checked by: reading the authorities takes 20 ms of a processor each time."""
    import ssl  # noqa: PLC0415 - costs 10 ms, and an emulator has no TLS

    return ssl.create_default_context()


class Connection:
    """One connection, for one request after the other; every method raises OSError when it breaks or takes too long."""

    def __init__(self, address: Address, *, timeout_seconds: float) -> None:
        # as bytes it is not brought into IDNA's form, whose tables would have to be imported
        host: Any = address.host.encode("ascii")
        self._socket = socket.create_connection((host, address.port), timeout=timeout_seconds)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.tls:
                self._socket = _trust().wrap_socket(self._socket, server_hostname=address.host)
        except BaseException:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")
        self._usable = True

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: nothing is left over, and the other side has not closed."""
        return self._usable and not select.select([self._socket], [], [], 0)[0]

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        most_bytes: int,
        seconds_left: Callable[[], float],
    ) -> Answer:
        """Send one request and return its whole answer, of at most ``most_bytes``.

        ``seconds_left`` is asked before every wait; once it is not positive, TimeoutError is raised.
        """
        self._usable = False
        self._wait_at_most(seconds_left)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if body or method in {"PUT", "POST"}:
            lines.append(f"content-length: {len(body)}")
        self._socket.sendall("\r\n".join((*lines, "", "")).encode("latin-1") + body)
        while (status := self._status()) < 200:  # 100 Continue and its kind
            self._headers()
        got = self._headers()
        data = b"" if method == "HEAD" or status in _NO_BODY else self._body(got, most_bytes, seconds_left)
        ends = status in _NO_BODY or "content-length" in got or "transfer-encoding" in got
        self._usable = ends and got.get("connection", "").lower() != "close"
        return Answer(status, got, data)

    def close(self) -> None:
        """Close the socket."""
        self._file.close()
        self._socket.close()

    def _wait_at_most(self, seconds_left: Callable[[], float]) -> None:
        if (seconds := seconds_left()) <= 0:
            raise TimeoutError("the service took too long")
        self._socket.settimeout(seconds)

    def _line(self) -> str:
        line = self._file.readline(_MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise BrokenAnswerError("the answer broke off in its head" if line else "the connection was closed")
        return line.decode("latin-1").rstrip("\r\n")

    def _status(self) -> int:
        protocol, _, rest = self._line().partition(" ")
        if not protocol.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise BrokenAnswerError("the answer is not HTTP/1.1")
        return int(rest[:3])

    def _headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for _ in range(_MAX_HEADERS):
            if not (line := self._line()):
                return found
            name, colon, value = line.partition(":")
            if not colon:
                raise BrokenAnswerError("the answer has a line that is no header")
            found[name.lower()] = value.strip()
        raise BrokenAnswerError(f"the answer has more than {_MAX_HEADERS} headers")

    def _body(self, headers: Mapping[str, str], most_bytes: int, seconds_left: Callable[[], float]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks(most_bytes, seconds_left)
        length = headers.get("content-length")
        if length is None:
            return self._read(None, most_bytes, seconds_left)
        if not length.isdecimal():
            raise BrokenAnswerError("the answer's length is no number")
        return self._read(int(length), most_bytes, seconds_left)

    def _chunks(self, most_bytes: int, seconds_left: Callable[[], float]) -> bytes:
        parts: list[bytes] = []
        while True:
            try:
                size = int(self._line().partition(";")[0], 16)
            except ValueError as e:
                raise BrokenAnswerError("a chunk of the answer has no size") from e
            if not size:
                self._headers()
                return b"".join(parts)
            parts.append(self._read(size, most_bytes - sum(map(len, parts)), seconds_left))
            self._line()

    def _read(self, length: int | None, most_bytes: int, seconds_left: Callable[[], float]) -> bytes:
        """Read ``length`` bytes, or to the end of the connection."""
        if length is not None and not 0 <= length <= most_bytes:
            raise BrokenAnswerError(f"an answer of {length:,} bytes is over the limit of {most_bytes:,}")
        data = bytearray()
        while length is None or len(data) < length:
            self._wait_at_most(seconds_left)
            piece = self._file.read1(1 << 20 if length is None else length - len(data))
            if not piece and length is not None:
                raise BrokenAnswerError(f"the answer broke off after {len(data):,} of {length:,} bytes")
            if not piece:
                break
            data += piece
            if len(data) > most_bytes:
                raise BrokenAnswerError(f"the answer is over the limit of {most_bytes:,} bytes")
        return bytes(data)
