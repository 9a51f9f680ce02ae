"""Files over HTTPS: our own connection to the address that was checked, no proxy, no cookies, everything bounded."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from trainyard import logs
from trainyard_ingest.domain.pulls import Download, SourceAwayError, refused, url_refused
from trainyard_ingest.pulling.addresses import AddressRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard.clock import Clock
    from trainyard_ingest.domain.pull_spec import UrlSpec
    from trainyard_ingest.pulling.addresses import AddressRule

CONNECT_SECONDS, IDLE_SECONDS, TOTAL_SECONDS = 10.0, 30.0, 900.0
MOST_REDIRECTS = 3
#: A file that changes while it is read is begun again; so is a body that breaks off.
MOST_ATTEMPTS = 3
_MOST_URL_CHARS = 4_096
_BLOCK_BYTES = 1 << 16
_PORTS = {"https": 443, "http": 80}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ETAG = re.compile(r'(?:W/)?"[!#-~\x80-\xff]{0,256}"')
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "trainyard-pull", "Accept": "*/*", "Connection": "close"}
_log = logs.get(__name__)


class ChangedError(Exception):
    """The file is not the one whose first part was read, or its body broke off: begin again."""


@dataclass(frozen=True)
class Limits:
    """What bounds one download."""

    most_bytes: int
    connect_seconds: float = CONNECT_SECONDS
    idle_seconds: float = IDLE_SECONDS
    total_seconds: float = TOTAL_SECONDS


@dataclass(frozen=True)
class _Place:
    """A URL, taken apart and allowed."""

    url: str
    scheme: str
    host: str
    port: int
    target: str
    address: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class UrlFetcher:
    """Fetches a file, with the address rule at every step.

    Args:
        http: whether plain ``http://`` is allowed besides ``https://``.
        ca_file: certificates of the authorities to trust.
    """

    def __init__(self, rule: AddressRule, clock: Clock, limits: Limits, *, http: bool, ca_file: str) -> None:
        self._rule = rule
        self._clock = clock
        self._limits = limits
        self._http = http
        self._ca_file = ca_file

    def check(self, url: str) -> None:
        """Refuse a URL that must not be fetched, with one text for every reason."""
        self._place(url)

    def fetch(self, spec: UrlSpec, known: dict[str, str | None] | None, into: IO[bytes]) -> Download | None:
        """Follow redirects, read the whole body into ``into``, and make sure that it is of one piece."""
        until = self._clock.monotonic() + self._limits.total_seconds
        for attempt in range(1, MOST_ATTEMPTS + 1):
            into.seek(0)
            into.truncate()
            try:
                return self._attempt(spec.url, known or {}, into, until)
            except (ChangedError, IncompleteRead) as e:
                _log.warning("pull.changed", attempt=attempt, reason=str(e))
            except (HTTPException, OSError) as e:  # TLS and timeouts among them
                raise SourceAwayError(f"the server does not answer: {_plain(e)}") from e
        raise SourceAwayError(f"the file changed or broke off while it was read, {MOST_ATTEMPTS} times in a row")

    def _attempt(self, url: str, known: dict[str, str | None], into: IO[bytes], until: float) -> Download | None:
        place = self._place(url)
        for _ in range(MOST_REDIRECTS + 1):
            with self._answer(place, _conditions(known), until) as answer:
                if answer.status in _REDIRECTS:
                    place = self._place(urljoin(place.url, answer.headers.get("Location", "")))
                    continue
                if answer.status == 304 and known:
                    return None
                _accept(answer)
                validators = _validators(answer)
                digest = self._read(answer, into, until)
                content_type = answer.headers.get("Content-Type", "")
            self._still_the_same(place, validators, until)
            return Download(place.url, content_type, validators, digest)
        _log.warning("url.refused", reason=f"more than {MOST_REDIRECTS} redirects")
        raise url_refused()

    def _read(self, answer: HTTPResponse, into: IO[bytes], until: float) -> str:
        """Write the body into the file; return its SHA-256."""
        announced = answer.headers.get("Content-Length")
        hashed, size = hashlib.sha256(), 0
        for block in bounded(lambda: answer.read1(_BLOCK_BYTES), self._limits.most_bytes, until, self._clock):
            hashed.update(block)
            size += len(block)
            into.write(block)
        if announced is not None and announced.isdigit() and int(announced) != size:
            raise ChangedError(f"{size} of {announced} bytes came")
        return hashed.hexdigest()

    def _still_the_same(self, place: _Place, validators: dict[str, str | None], until: float) -> None:
        """Ask for the file on condition that it has changed: one written over while it was read is a mix of two."""
        if not any(validators.values()):
            return
        with self._answer(place, _conditions(validators), until) as answer:
            if answer.status not in {200, 304} or (answer.status == 200 and _validators(answer) != validators):
                raise ChangedError(f"its validators are not those of the answer any more (status {answer.status})")

    @contextmanager
    def _answer(self, place: _Place, conditions: dict[str, str], until: float) -> Iterator[HTTPResponse]:
        """Yield the answer to a GET at the place's address; the connection is closed behind the block."""
        left = until - self._clock.monotonic()
        if left <= 0:
            raise self._too_slow()
        plain = socket.create_connection((place.address, place.port), timeout=self._limits.connect_seconds)
        with plain, _ended_after(plain, left) as ended:
            try:
                with self._secured(plain, place) as connected:
                    connected.settimeout(self._limits.idle_seconds)
                    yield _asked(connected, place, conditions)
            except (HTTPException, OSError) as e:
                raise (self._too_slow() if ended.is_set() else e) from e
            if ended.is_set():  # which looks like the end of a body that has no length
                raise self._too_slow()

    def _secured(self, plain: socket.socket, place: _Place) -> socket.socket:
        """Return the connection that is spoken on; the certificate must be the host's, whatever the address is."""
        if place.scheme == "http":
            return plain
        context = ssl.create_default_context(cafile=self._ca_file)
        return context.wrap_socket(plain, server_hostname=place.host, suppress_ragged_eofs=False)

    def _too_slow(self) -> SourceAwayError:
        return SourceAwayError(f"the file did not come whole within {self._limits.total_seconds:.0f} s")

    def _place(self, url: str) -> _Place:
        try:
            return self._allowed(url)
        except (AddressRefusedError, ValueError) as e:
            _log.warning("url.refused", reason=str(e))
            raise url_refused() from e

    def _allowed(self, url: str) -> _Place:
        """Return the place of a URL; ValueError or AddressRefusedError, with the reason, for one that is refused."""
        if len(url) > _MOST_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise ValueError("too long, or signs that no URL has")
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or (parts.scheme == "http" and not self._http):
            raise ValueError(f"scheme {parts.scheme!r}")
        if "@" in parts.netloc or not parts.hostname:
            raise ValueError("user information, or no host")
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme]
        if port not in _PORTS.values() and not self._rule.names_port(host, port):
            raise ValueError(f"port {port}")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return _Place(url, parts.scheme, host, port, target, self._rule.address(host, port))


def bounded(read: Callable[[], bytes], most_bytes: int, until: float, clock: Clock) -> Iterator[bytes]:
    """Yield blocks until there are none.

    Raises:
        ServiceError: ``source_refused``: more than ``most_bytes``.
        SourceAwayError: not done at ``until``, on the clock's monotonic time.
    """
    size = 0
    while block := read():
        size += len(block)
        if size > most_bytes:
            raise refused(f"the file is larger than {most_bytes:,} bytes; split it, or put it into landing/")
        if clock.monotonic() > until:
            raise SourceAwayError("the file did not come whole in time")
        yield block


@contextmanager
def _ended_after(connected: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """Break the connection after ``seconds``, and say so: what trickles byte by byte would never be idle."""
    ended = threading.Event()
    with connected.dup() as handle:  # TLS takes the socket over; this stays a handle of the same connection

        def end() -> None:
            ended.set()
            with suppress(OSError):  # closed by the other side already
                handle.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield ended
        finally:
            timer.cancel()
            timer.join()


def _asked(connected: socket.socket, place: _Place, conditions: dict[str, str]) -> HTTPResponse:
    """Send the request over a connection that stands, and return the answer's head."""
    connection = HTTPConnection(place.host, place.port)
    connection.auto_open = 0  # it has the one connection that was checked, and makes no other
    connection.sock = connected
    connection.putrequest("GET", place.target, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": place.host_header, **_HEADERS, **conditions}.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def _conditions(known: dict[str, str | None]) -> dict[str, str]:
    """Return the headers that ask for the file only if it is another than the one known."""
    if known.get("etag"):
        return {"If-None-Match": str(known["etag"])}
    return {"If-Modified-Since": str(known["last_modified"])} if known.get("last_modified") else {}


def _validators(answer: HTTPResponse) -> dict[str, str | None]:
    etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
    return {
        "etag": etag if etag and _ETAG.fullmatch(etag) else None,
        "last_modified": modified if modified and len(modified) <= 64 and modified.isprintable() else None,
    }


def _accept(answer: HTTPResponse) -> None:
    """Refuse what is not a whole file as it is."""
    if answer.status >= 500 or answer.status in {408, 425, 429}:
        raise SourceAwayError(f"the server answers {answer.status}")
    if answer.status != 200:
        raise refused(f"the server answers {answer.status}; a file is 200")
    if answer.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        raise refused("the server compresses the file though it was asked not to (Content-Encoding)")


def _plain(error: Exception) -> str:
    """Return what is wrong without the words of the server's side, which are the server's to choose."""
    match error:
        case ssl.SSLCertVerificationError():
            return "its certificate is not one to trust"
        case TimeoutError():
            return "silent for too long"
        case ConnectionRefusedError():
            return "connection refused"
        case _:
            return type(error).__name__
