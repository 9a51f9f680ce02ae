"""The connections of one process: how many there may be, how long each may take, and who computes.

A request that is answered in well under a millisecond is answered where it is read, in the loop. Many rows of a model
that is in memory are computed by one thread, one request after the other: two at once would only take the interpreter
and the processor's cache from each other. Everything else (a model or an API key that must be read first, explanations,
most foreign protocols) runs in a few threads, so that it holds up nobody. Bodies that are read while they come have
threads of their own: they last as long as their senders like. Sockets that send slowly or nothing cost a little memory:
they have deadlines, and beyond a number of connections the one that has waited longest makes room.
"""

from __future__ import annotations

import asyncio
import errno
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.frozen import dataclass
from trainyard_predictor.protocols.routes import COMPUTES
from trainyard_predictor.web.connection import Connection
from trainyard_predictor.web.fellows import Fellows
from trainyard_predictor.web.heads import Heads

if TYPE_CHECKING:
    import socket

    from trainyard_predictor.exchange import Request, Response
    from trainyard_predictor.handler import Handler

#: Bodies that are held at once while they arrive or wait, in bytes.
MOST_HELD_BYTES = 128 * 1024 * 1024
#: How long nobody is accepted when the process has run out of files.
_PAUSE_SECONDS = 0.1
#: How long a connection is left to a worker that has fewer: one that only computes has its turn within 1 ms.
_COURTESY_SECONDS = 0.002
#: How often it is looked whether it still has fewer.
_LOOK_SECONDS = 0.001
_NONE_MORE = 2**62
#: What a client that was idle may just have sent when the server stops is still answered.
_LAST_CALL_SECONDS = 0.1
_log = logs.get(__name__)


@dataclass(frozen=True)
class Settings:
    """What gunicorn's command line says."""

    threads: int
    connections: int
    keep_alive_seconds: float


class Server:
    """Serves a handler on listening sockets; all methods are the loop's thread's. ``sweep`` is due once a second."""

    def __init__(
        self, handler: Handler, loop: asyncio.AbstractEventLoop, settings: Settings, fellows: Fellows | None = None
    ) -> None:
        self.loop = loop
        self._fellows = fellows or Fellows()
        self.settings = settings
        self.held_bytes = 0
        self.date = ""
        self.stopping = False
        self.heads = Heads()
        self._handler = handler
        self._pool = ThreadPoolExecutor(settings.threads, "predictor-http")
        self._computing = ThreadPoolExecutor(1, "predictor-rows")
        self._uploads = ThreadPoolExecutor(settings.threads, "predictor-upload")
        #: the one that has waited longest is first
        self._connections: dict[Connection, None] = {}
        self._listening: list[socket.socket] = []
        #: accepted, and not yet among the connections
        self._coming: set[Connection] = set()
        self._greeting: set[asyncio.Task[object]] = set()
        self._empty = asyncio.Event()
        self.answer = handler.handle
        self.pace = handler.pace
        self.streams = handler.streams
        self.sweep()

    def answer_later(self, request: Request, pace: int) -> asyncio.Future[Response]:
        """Have a request answered by a thread: one that only computes when those before it are done."""
        pool = self._pool if request.rest is None else self._uploads
        return self.loop.run_in_executor(self._computing if pace == COMPUTES else pool, self.answer, request)

    @property
    def full(self) -> bool:
        """Whether no more bodies should be held."""
        return self.held_bytes > MOST_HELD_BYTES

    # --- connections ---

    def listen(self, listening: socket.socket) -> None:
        """Accept connections on a socket; one a turn, so that workers that share it share its connections."""
        listening.setblocking(False)
        self._listening.append(listening)
        self.loop.add_reader(listening, partial(self._accept, listening))

    def _accept(self, listening: socket.socket) -> None:
        """Accept a connection, after a moment where another worker that has fewer may take it first."""
        if self._fellows.have_fewer(self._count(), self.loop.time()):
            self.loop.remove_reader(listening)
            self._leave(listening, self.loop.time() + _COURTESY_SECONDS)
        else:
            self._accept_now(listening)

    def _leave(self, listening: socket.socket, until: float) -> None:
        """Leave connections to workers that have fewer, for as long as they do, and no longer than ``until``."""
        now = self.loop.time()
        if now < until and not self.stopping and self._fellows.have_fewer(self._count(), now):
            self.loop.call_later(_LOOK_SECONDS, self._leave, listening, until)
            return
        self._accept_again(listening)
        if not self.stopping:
            self._accept_now(listening)

    def _accept_now(self, listening: socket.socket) -> None:
        try:
            accepted, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster, or the client has changed its mind
        except OSError as e:
            if e.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            _log.error("http.no_files", reason=str(e), connections=len(self._connections))
            self._make_room()
            self.loop.remove_reader(listening)
            self.loop.call_later(_PAUSE_SECONDS, self._accept_again, listening)
            return
        connection = Connection(self)
        self._coming.add(connection)
        task = self.loop.create_task(self.loop.connect_accepted_socket(lambda: connection, accepted))
        self._greeting.add(task)
        self._say()
        task.add_done_callback(partial(self._greeted, connection))

    def _accept_again(self, listening: socket.socket) -> None:
        if not self.stopping:
            self.loop.add_reader(listening, partial(self._accept, listening))

    def _greeted(self, connection: Connection, task: asyncio.Task[object]) -> None:
        self._greeting.discard(task)
        self._coming.discard(connection)
        if not task.cancelled() and (fault := task.exception()) is not None:
            _log.info("http.gone", reason=str(fault))
        self._say()

    def _count(self) -> int:
        return len(self._connections) + len(self._coming)

    def _say(self) -> None:
        # nobody waits for a worker that accepts no more
        self._fellows.say(_NONE_MORE if self.stopping else self._count(), self.loop.time())

    def opened(self, connection: Connection) -> None:
        """Take note of a connection."""
        self._coming.discard(connection)
        if len(self._connections) >= self.settings.connections:
            self._make_room()
        self._connections[connection] = None

    def touched(self, connection: Connection) -> None:
        """Take note that a connection was answered: of those that wait it is now the youngest."""
        connections = self._connections
        if connection in connections:
            del connections[connection]
            connections[connection] = None

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)
        self._say()
        if not self._connections:
            self._empty.set()

    def _make_room(self) -> None:
        oldest = next((one for one in self._connections if one.waits), None)
        if oldest is not None:
            del self._connections[oldest]
            oldest.abort()

    def sweep(self) -> None:
        """End what has taken too long, and look at the clock for the header ``Date``."""
        self.date = formatdate(time.time(), usegmt=True)  # noqa: TID251 - what HTTP calls the time
        now = self.loop.time()
        self._say()
        for connection in [one for one in self._connections if one.deadline < now]:
            connection.expire()

    async def stop(self, grace_seconds: float) -> None:
        """Accept nobody any more, answer what has been asked, and close everything after ``grace_seconds`` at most."""
        self.stopping = True
        self._say()
        for listening in self._listening:
            self.loop.remove_reader(listening)
        deadline = self.loop.time() + grace_seconds
        if grace_seconds:
            await asyncio.sleep(min(_LAST_CALL_SECONDS, grace_seconds))
            for connection in list(self._connections):
                connection.finish()
        while self._connections and self.loop.time() < deadline:
            self._empty.clear()
            try:
                await asyncio.wait_for(self._empty.wait(), min(1.0, deadline - self.loop.time()))
            except TimeoutError:
                self.sweep()
        if self._connections:
            _log.warning("http.cut_off", connections=len(self._connections))
        for connection in list(self._connections):
            connection.abort()
        for pool in (self._pool, self._uploads, self._computing):
            pool.shutdown(wait=False, cancel_futures=True)
