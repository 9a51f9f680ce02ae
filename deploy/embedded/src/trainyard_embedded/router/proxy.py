"""Passes a request on and its answer back as streams, without keeping either in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from trainyard import logs
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.http_writer import StreamWriter

    from trainyard_embedded.router.routes import Routes

_log = logs.get(__name__)

MOST_URL_BYTES = 4 * 1024
MOST_HEAD_BYTES = 16 * 1024
#: a service that restarts is back within this time; until a connection stands nothing has been sent
CONNECT_SECONDS = 2.0
_CONNECT_PAUSE_SECONDS = 0.05
#: shorter than the services keep idle connections, so that we never send into one that they are closing
_POOL_IDLE_SECONDS = 15.0
#: a body up to here waits until all of it has come
_SMALL_BODY_BYTES = 64 * 1024
_HOP_BY_HOP = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.PROXY_AUTHENTICATE, hdrs.PROXY_AUTHORIZATION, hdrs.TE, hdrs.TRAILER,
        hdrs.TRANSFER_ENCODING, hdrs.UPGRADE, hdrs.EXPECT,
    )
)  # fmt: skip
_FORWARDED_FOR = hdrs.X_FORWARDED_FOR.lower()
_UPSTREAMS = web.AppKey("upstreams", dict)
_SESSION = web.AppKey("session", aiohttp.ClientSession)


def make_app(routes: Routes, upstreams: Mapping[str, str]) -> web.Application:
    """Return the router. ``upstreams`` gives each service's address, as ``http://host:port``."""
    app = web.Application()
    app[_UPSTREAMS] = dict(upstreams)
    app.cleanup_ctx.append(_with_session)
    app.router.add_get("/healthz", _alive)
    app.router.add_get("/readyz", _alive)
    proxy = Proxy(routes, app)
    app.router.add_route("*", r"/{path:[\s\S]*}", proxy.handle)
    return app


async def _alive(_request: web.Request) -> web.Response:
    """Answer for the router itself, which needs nobody: the services have routes of their own under ``/-/``."""
    return web.json_response({"status": "ok"})


async def _with_session(app: web.Application) -> AsyncIterator[None]:
    # No limit on connections: each streaming client holds one for as long as it likes.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_POOL_IDLE_SECONDS)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
    ) as session:
        app[_SESSION] = session
        yield


class Proxy:
    """Handles every path that is not the router's own."""

    def __init__(self, routes: Routes, app: web.Application) -> None:
        self._routes = routes
        self._app = app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with what the service answers, or with an error of our own before it has begun to."""
        try:
            _check_head(request)
            target = self._routes.target(request.rel_url.raw_path)
            body = Body(request)
            upstream = await self._ask(request, target.service, target.path, body)
        except ServiceError as e:
            answer = web.json_response(e.as_dict(), status=e.status)
            if e.retry_after_seconds is not None:
                answer.headers[hdrs.RETRY_AFTER] = str(e.retry_after_seconds)
            return answer
        try:
            return await _relay(request, upstream, target.service)
        finally:
            # A connection on which an answer is still under way cannot carry another request.
            if upstream.content.at_eof():
                upstream.release()
            else:
                upstream.close()

    async def _ask(self, request: web.Request, service: str, path: str, body: Body) -> aiohttp.ClientResponse:
        query = request.rel_url.raw_query_string
        url = URL(f"{self._app[_UPSTREAMS][service]}{path}{'?' + query if query else ''}", encoded=True)
        headers = _forwarded(request)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CONNECT_SECONDS
        while True:
            try:
                upstream = await self._app[_SESSION].request(
                    request.method,
                    url,
                    headers=headers,
                    data=await body.data(),
                    allow_redirects=False,
                )
            except aiohttp.ClientConnectorError as e:
                if loop.time() > deadline:
                    _log.warning("upstream.down", name=service, reason=str(e))
                    raise ServiceError(
                        "unavailable", f"{service} does not answer just now; nothing was done", retry_after_seconds=1
                    ) from e
                await asyncio.sleep(_CONNECT_PAUSE_SECONDS)
            except aiohttp.ClientError as e:
                _log.warning("upstream.broke", name=service, reason=repr(e))
                raise ServiceError(
                    "unavailable",
                    f"{service} ended the connection before it answered; repeat with the same Idempotency-Key",
                    retry_after_seconds=1,
                ) from e
            else:
                body.answered = True
                return upstream


class Body:
    """A request's body on its way to the service. ``answered`` stops it.

    A small body is taken in first and sent in one piece. A larger one streams, on a connection that carries nothing
    after it: the service may answer from the head alone, and then the rest of the body is never sent.
    """

    def __init__(self, request: web.Request) -> None:
        self.answered = False
        self._content = request.content
        self._there = request.can_read_body
        self._length = request.content_length
        self._small: bytes | None = None

    async def data(self) -> bytes | aiohttp.Payload | None:
        """Return what to give to the client session; may be called again when a connection could not be made.

        Raises:
            ServiceError: the client ended a small body too early.
        """
        if not self._there:
            return None
        if self._length is None or self._length > _SMALL_BODY_BYTES:
            return _Upload(self, self._content)
        if self._small is None:
            try:
                self._small = await self._content.readexactly(self._length)
            except asyncio.IncompleteReadError as e:
                raise ServiceError("bad_request", "the body ended before its Content-Length") from e
        return self._small


class _Upload(aiohttp.payload.AsyncIterablePayload):
    """A body that streams: its head goes out before its first byte has come, and nothing comes after it.

    A service that refuses it closes. Whoever goes on writing then gets a reset, and with it loses the refusal that had
    arrived before. So each chunk waits until what has come in has been looked at: three turns of the loop, for the
    socket to be read, for the answer's task to wake, and for it to say so.
    """

    _TURNS = 3

    def __init__(self, body: Body, content: aiohttp.StreamReader) -> None:
        super().__init__(self._chunks(body, content))

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the head at once, then the body."""
        protocol = cast("StreamWriter", writer).protocol
        cast("ResponseHandler", protocol).force_close()
        writer.send_headers()
        await super().write_with_length(writer, content_length)

    async def _chunks(self, body: Body, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
        async for chunk in content.iter_any():
            for _ in range(self._TURNS):
                await asyncio.sleep(0)
            if body.answered:
                return
            yield chunk


async def _relay(request: web.Request, upstream: aiohttp.ClientResponse, service: str) -> web.StreamResponse:
    answer = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=_without_hops(upstream.headers))
    await answer.prepare(request)
    try:
        async for chunk in upstream.content.iter_any():
            await answer.write(chunk)
    except aiohttp.ClientError as e:
        # The head has gone out: only a connection that ends too early tells the client that the answer is not whole.
        _log.warning("upstream.broke", name=service, reason=repr(e))
        if request.transport is not None:
            request.transport.close()
        return answer
    await answer.write_eof()
    return answer


def _check_head(request: web.Request) -> None:
    if len(request.raw_path) > MOST_URL_BYTES:
        raise ServiceError("uri_too_long", f"the path and query are longer than {MOST_URL_BYTES} bytes")
    if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > MOST_HEAD_BYTES:
        raise ServiceError("bad_request", f"the request's headers are longer than {MOST_HEAD_BYTES} bytes")


def _forwarded(request: web.Request) -> list[tuple[str, str]]:
    """Return the headers for the service: the client's own, ``Host`` untouched, and who asked."""
    came_through = [*request.headers.getall(hdrs.X_FORWARDED_FOR, []), request.remote or "unknown"]
    kept = [(name, value) for name, value in _without_hops(request.headers) if name.lower() != _FORWARDED_FOR]
    return [*kept, (hdrs.X_FORWARDED_FOR, ", ".join(came_through))]


def _without_hops(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers without those that concern one connection only; a name may stand several times."""
    named = {name.strip().lower() for name in headers.get(hdrs.CONNECTION, "").split(",")} | _HOP_BY_HOP
    return [(name, value) for name, value in headers.items() if name.lower() not in named]
