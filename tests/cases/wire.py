"""A TCP wire before the AWS emulator that breaks at a chosen byte of a chosen call."""

from __future__ import annotations

import socket
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_BYTES = 65_536
_LONGEST_HEAD_BYTES = 8_192
_JOIN_SECONDS = 10.0
_LINGER_ZERO = struct.pack("ii", 1, 0)


def _nothing() -> None:
    """Do nothing."""


@dataclass
class Cut:
    """A break that waits for its call: ``done`` counts how often it struck."""

    marker: bytes
    answer: bool
    after_bytes: int
    times: int
    then: Callable[[], None]
    done: int = 0


class Wire:
    """``with Wire(emulator.endpoint) as wire`` listens on ``wire.endpoint``; while ``down`` nothing gets through."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._cuts: list[Cut] = []
        self._links: set[_Link] = set()
        self._down = False
        self._thread = threading.Thread(target=self._accept, name="wire", daemon=True)

    @property
    def endpoint(self) -> str:
        """The address for boto3."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.down = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_JOIN_SECONDS)

    @property
    def down(self) -> bool:
        """Whether every connection is reset, old and new."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        with self._lock:
            self._down = down
            links = list(self._links) if down else []
        for link in links:
            link.reset()

    def cut_request(
        self, marker: bytes, *, after_bytes: int = 0, times: int = 1, then: Callable[[], None] = _nothing
    ) -> Cut:
        """Reset the next ``times`` connections that carry ``marker`` in a request, ``after_bytes`` bytes behind it.

        Nothing from there on reaches the emulator; ``then`` is called between the last byte and the reset.
        """
        return self._add(Cut(marker, False, after_bytes, times, then))

    def cut_answer(
        self, marker: bytes, *, after_bytes: int = 0, times: int = 1, then: Callable[[], None] = _nothing
    ) -> Cut:
        """Let the emulator do what a request with ``marker`` asks, and reset ``after_bytes`` bytes into its answer."""
        return self._add(Cut(marker, True, after_bytes, times, then))

    def _add(self, cut: Cut) -> Cut:
        with self._lock:
            self._cuts.append(cut)
        return cut

    # --- called by the links ---

    def cut_for(self, head: bytes) -> Cut | None:
        """Return the cut that a request with this beginning calls for, and count it."""
        with self._lock:
            for cut in self._cuts:
                if cut.done < cut.times and cut.marker in head:
                    cut.done += 1
                    return cut
        return None

    def ended(self, link: _Link) -> None:
        """Forget a link."""
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._upstream, timeout=_JOIN_SECONDS)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            link = _Link(self, client, server)
            with self._lock:
                down = self._down
                self._links.add(link)
            if down:
                link.reset()
                self.ended(link)
            else:
                link.start()


class _Link:
    """One client's connection, and the connection to the emulator behind it."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire = wire
        self._client = client
        self._server = server
        self._cut: Cut | None = None
        self._passed = 0

    def start(self) -> None:
        """Begin to carry bytes."""
        for pump in (self._ask, self._answer):
            threading.Thread(target=pump, name="wire-link", daemon=True).start()

    def reset(self) -> None:
        """Break both connections."""
        for end in (self._client, self._server):
            _reset(end)

    def _ask(self) -> None:
        head = b""
        for data in _chunks(self._client):
            head = (head + data)[-max(_LONGEST_HEAD_BYTES, len(data)) :]
            if self._cut is None and (cut := self._wire.cut_for(head)) is not None:
                self._cut, self._passed = cut, 0
                head = b""
            if not self._carry(data, self._server, answer=False):
                return
        self._close(self._server)

    def _answer(self) -> None:
        for data in _chunks(self._server):
            # "100 Continue" only invites the body of the request; it is not the answer.
            invites = data.startswith(b"HTTP/1.1 100")
            if not self._carry(data, self._client, answer=not invites):
                break
        self._close(self._client)
        for end in (self._client, self._server):
            end.close()
        self._wire.ended(self)

    def _carry(self, data: bytes, to: socket.socket, *, answer: bool) -> bool:
        cut = self._cut
        strikes = cut is not None and cut.answer == answer
        if cut is not None and strikes:
            room = max(cut.after_bytes - self._passed, 0)
            self._passed += len(data)
            strikes = self._passed > cut.after_bytes
            data = data[:room] if strikes else data
        try:
            to.sendall(data)
        except OSError:
            self.reset()
            return False
        if cut is not None and strikes:
            cut.then()
            self.reset()
            return False
        return True

    def _close(self, end: socket.socket) -> None:
        try:
            end.shutdown(socket.SHUT_WR)
        except OSError:
            self.reset()


def _chunks(source: socket.socket):
    while True:
        try:
            data = source.recv(_CHUNK_BYTES)
        except OSError:
            return
        if not data:
            return
        yield data


def _reset(end: socket.socket) -> None:
    """Close at once, with RST instead of FIN."""
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already
    end.close()
