"""A predictor's HTTP road on a Unix socket: the loop in a thread, the handler of a predictor on fakes."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import uvloop

from trainyard.testing.models import sample_rows
from trainyard_predictor.web.fellows import Fellows
from trainyard_predictor.web.server import Server, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import World

BODY = json.dumps({"rows": sample_rows(1)}).encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Web:
    """A server on a port of its own; ``stop`` ends it as SIGTERM does."""

    def __init__(self, world: World, settings: Settings, fellow: Web | None = None) -> None:
        """Serve; ``fellow`` has a socket that is to be shared with this one, as workers of one gunicorn do."""
        self.key = world.key
        self.grace_seconds = 5.0
        self._loop = uvloop.new_event_loop()
        self.fellows = copy(fellow.fellows) if fellow else Fellows()
        self.fellows.join(2 if fellow else 1)
        self._server = Server(world.service.handler, self._loop, settings, self.fellows)
        self._folder = tempfile.TemporaryDirectory()  # short: the name of a Unix socket has little room
        if fellow:
            self._listening = fellow._listening.dup()
        else:
            self._listening = socket.socket(socket.AF_UNIX)
            self._listening.bind(f"{self._folder.name}/socket")
            self._listening.listen(1000)
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()

    async def _run(self) -> None:
        self._server.listen(self._listening)
        while not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), 0.05)
            except TimeoutError:
                self._server.sweep()
        await self._server.stop(self.grace_seconds)

    def stop(self) -> None:
        """End it, and wait for the end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)
        self._listening.close()
        self._folder.cleanup()
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many connections it holds."""
        return len(self._server._connections)

    @property
    def held_bytes(self) -> int:
        """Bodies that it counts as held."""
        return self._server.held_bytes

    def connect(self) -> socket.socket:
        """Return a connection; every wait on it ends."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(f"{self._folder.name}/socket")
        return connection

    def post(self, body: bytes = BODY, *lines: str, length: int | None = None) -> bytes:
        """Return a request for predictions; ``lines`` are further header lines."""
        said = [f"Host: localhost\r\nAuthorization: Bearer {self.key}\r\nContent-Type: application/json\r\n"]
        if not any("Transfer-Encoding" in line for line in lines):
            said.append(f"Content-Length: {len(body) if length is None else length}\r\n")
        head = "POST /v1/predict/flights HTTP/1.1\r\n" + "".join(said) + "".join(f"{line}\r\n" for line in lines)
        return f"{head}\r\n".encode() + body

    def talk(self, *parts: bytes) -> list[tuple[int, dict[str, str], bytes]]:
        """Send parts on one connection, then nothing more, and return all answers."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            return answers(connection)


def answers(
    connection: socket.socket, most: int = 1000, *, head_only: bool = False
) -> list[tuple[int, dict[str, str], bytes]]:
    """Read up to ``most`` answers, or until the server closes."""
    found: list[tuple[int, dict[str, str], bytes]] = []
    stream = connection.makefile("rb")
    while len(found) < most and (line := stream.readline()):
        headers: dict[str, str] = {}
        while header := stream.readline().rstrip():
            name, _, value = header.decode().partition(": ")
            headers[name.lower()] = value
        length = 0 if head_only else int(headers.get("content-length", "0"))
        found.append((int(line.split()[1]), headers, stream.read(length)))
    return found


def code(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    """Return the status and the code of an error."""
    return answer[0], json.loads(answer[2])["error"]["code"]


@contextmanager
def served(world: World, **changes: Any) -> Iterator[Web]:
    """Serve a predictor for a while; it has been asked once, so that its model is in memory."""
    assert world.ask("flights", BODY).status == 200
    web = Web(world, Settings(**{"threads": 2, "connections": 100, "keep_alive_seconds": 30.0, **changes}))
    try:
        yield web
    finally:
        web.stop()
