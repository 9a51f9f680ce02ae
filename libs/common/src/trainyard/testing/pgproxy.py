"""A TCP proxy before Postgres that damages connections to order; see :mod:`trainyard.testing.toxics`.

It runs in a thread of its own. Connections must not be encrypted: the proxy reads them to find the COMMIT.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from trainyard.testing.guard import only_in_tests
from trainyard.testing.pgwire import Frames, is_commit
from trainyard.testing.toxics import (
    Bandwidth,
    Direction,
    Down,
    DropCommitReply,
    Latency,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

_CHUNK_BYTES = 16_384
_CALL_SECONDS = 10.0
_LINGER_ZERO = struct.pack("ii", 1, 0)


class PgProxy:
    """``with PgProxy(server.port) as proxy`` listens on ``proxy.port``; ``seed`` fixes jitter and slices."""

    def __init__(self, upstream_port: int, *, upstream_host: str = "127.0.0.1", seed: int = 0) -> None:
        only_in_tests("the Postgres proxy")
        self.port = 0
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.commits_dropped = 0
        self._upstream = (upstream_host, upstream_port)
        self._toxics: list[Toxic] = []
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._commits_to_go: dict[int, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pgproxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()

    def add(self, toxic: Toxic) -> None:
        """Damage every connection, present and future, until the toxic is removed."""
        self._call(self._add(toxic))

    def remove(self, toxic: Toxic) -> None:
        """Stop damaging; what was closed or lost stays so."""
        self._call(self._remove(toxic))

    @contextmanager
    def toxic(self, toxic: Toxic) -> Iterator[None]:
        """Damage inside the block only."""
        self.add(toxic)
        try:
            yield
        finally:
            self.remove(toxic)

    # --- everything below runs in the proxy's own thread ---

    def of(self, direction: Direction) -> list[Toxic]:
        """Return the toxics of one direction, in the order in which they were added."""
        return [toxic for toxic in self._toxics if toxic.direction == direction]

    def commit_seen(self) -> bool:
        """Count a COMMIT; return whether its answer is to be dropped."""
        drop = False
        for toxic in self._toxics:
            if isinstance(toxic, DropCommitReply):
                self._commits_to_go[id(toxic)] -= 1
                drop = drop or self._commits_to_go[id(toxic)] == 0
        self.commits_dropped += drop
        return drop

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        self._deafen()
        links = list(self._links)
        for link in links:
            link.reset()
        await asyncio.gather(*(link.ended.wait() for link in links))

    def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _add(self, toxic: Toxic) -> None:
        self._toxics.append(toxic)
        if isinstance(toxic, DropCommitReply):
            self._commits_to_go[id(toxic)] = toxic.nth
        if isinstance(toxic, Down):
            self._deafen()
        for link in list(self._links):
            link.struck_by(toxic)

    async def _remove(self, toxic: Toxic) -> None:
        self._toxics = [other for other in self._toxics if other is not toxic]
        if isinstance(toxic, Down) and self._server is None:
            await self._listen()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection(*self._upstream)
        except OSError:
            _reset(writer)
            return
        link = _Link(self, (reader, writer), upstream)
        self._links.add(link)
        for toxic in self._toxics:
            link.struck_by(toxic)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            link.ended.set()


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One client's connection and the connection to the server behind it."""

    def __init__(self, proxy: PgProxy, client: _Streams, server: _Streams) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._asked = Frames(untyped=True)
        self._answered = Frames(untyped=False)
        self._swallowing = False
        self.ended = asyncio.Event()

    async def run(self) -> None:
        pumps = (
            self._pump("upstream", self._client[0], self._server[1]),
            self._pump("downstream", self._server[0], self._client[1]),
        )
        await asyncio.gather(*pumps)

    def struck_by(self, toxic: Toxic) -> None:
        """Do what a toxic does to a connection without waiting for data."""
        loop = asyncio.get_running_loop()
        if isinstance(toxic, Down):
            self.close()
        elif isinstance(toxic, ResetPeer):
            loop.call_later(toxic.timeout_ms / 1000, self.reset)
        elif isinstance(toxic, Timeout) and toxic.timeout_ms > 0:
            loop.call_later(toxic.timeout_ms / 1000, self.close)

    def close(self) -> None:
        """Close both connections in good order."""
        for _, writer in (self._client, self._server):
            writer.close()

    def reset(self) -> None:
        """Reset both connections."""
        for _, writer in (self._client, self._server):
            _reset(writer)

    async def _pump(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK_BYTES):
                self._read_along(direction, data)
                if not (direction == "downstream" and self._swallowing):
                    await self._deliver(data, direction, writer)
            for toxic in self._proxy.of(direction):
                if isinstance(toxic, SlowClose):
                    await asyncio.sleep(toxic.delay_ms / 1000)
        writer.close()

    async def _deliver(self, data: bytes, direction: Direction, writer: asyncio.StreamWriter) -> None:
        pieces, pause = [data], 0.0
        for toxic in self._proxy.of(direction):
            match toxic:
                case Timeout():
                    return
                case Latency(latency_ms=latency, jitter_ms=jitter):
                    await asyncio.sleep(max(0.0, latency + self._proxy.random.uniform(-jitter, jitter)) / 1000)
                case Bandwidth(rate_kb=rate):
                    await asyncio.sleep(len(data) / (rate * 1000))
                case Slicer():
                    pieces, pause = self._slices(data, toxic), toxic.delay_us / 1e6
                case _:
                    pass
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(pause)

    def _slices(self, data: bytes, toxic: Slicer) -> list[bytes]:
        pieces = []
        while data:
            spread = self._proxy.random.randint(-toxic.size_variation, toxic.size_variation)
            size = max(1, toxic.average_size + spread)
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    def _read_along(self, direction: Direction, data: bytes) -> None:
        """Look for a COMMIT on its way to the server, and for the end of its answer on the way back."""
        if direction == "upstream":
            for kind, payload in self._asked.feed(data):
                if kind == b"ssl":
                    self._answered.raw_bytes += 1
                elif is_commit(kind, payload) and self._proxy.commit_seen():
                    self._swallowing = True
        else:
            messages = self._answered.feed(data)
            if self._swallowing and any(kind == b"Z" for kind, _ in messages):  # the server is ready again: it is done
                self.reset()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST, as a machine does that has lost its memory of the connection."""
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        writer.transport.abort()
