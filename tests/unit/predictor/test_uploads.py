"""Bodies that are read while they come, on real (Unix) sockets: ``POST /v1/batch-jobs``."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from event_loop import BODY, HEALTH, Web, answers, code, served

from trainyard.testing.processes import wait_until
from trainyard_predictor.handler import MAX_BODY_BYTES
from trainyard_predictor.web import connection as limits
from trainyard_predictor.web.upload import ENOUGH_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import World

LINE = b'{"a": 1, "filler": "' + b"x" * 99_976 + b'"}\n'
MEBIBYTE = 1024 * 1024
LONG = LINE * (20 * MEBIBYTE // len(LINE))
SHORT = LINE * (3 * MEBIBYTE // len(LINE))


@pytest.fixture
def web(world: World) -> Iterator[Web]:
    """A server of this test's own."""
    with served(world) as made:
        yield made


def head(
    web: Web, length: int | None, *lines: str, key: str | None = None, kind: str = "application/x-ndjson"
) -> bytes:
    """Return the head of an upload; without a length it is in chunks."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    said = [
        "POST /v1/batch-jobs?model=flights HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {key or web.key}",
        f"Content-Type: {kind}",
        size,
        *lines,
    ]
    return "\r\n".join([*said, "", ""]).encode()


def chunks(body: bytes, size: int) -> bytes:
    """Return a body in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


def stored(world: World, answer: tuple[int, dict[str, str], bytes]) -> bytes:
    """Return what was stored of an upload that was taken."""
    status, _, body = answer
    assert status == 202, body
    job = json.loads(body)
    data: bytes = world.blobs.get(job["input"]).data
    assert job["input_bytes"] == len(data)
    return data


def slow_store(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have the store wait in its first part; return what tells that it does, and what lets it go on."""
    started, go_on = threading.Event(), threading.Event()
    put_part = world.blobs.put_part

    def waiting(*args: Any) -> None:
        started.set()
        assert go_on.wait(20)
        put_part(*args)

    monkeypatch.setattr(world.blobs, "put_part", waiting)
    return started, go_on


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_arrives_whole_and_the_connection_is_kept(world: World, web: Web, chunked: bool) -> None:
    """With a length or in chunks; requests before and behind it on the connection get their own answers, in order."""
    upload = head(web, None) + chunks(LONG, 300_000) if chunked else head(web, len(LONG)) + LONG
    with web.connect() as connection:
        for _ in range(2):
            connection.sendall(HEALTH + upload + web.post(BODY) + HEALTH)
            first, taken, row, last = answers(connection, 4)
            assert (first[0], row[0], last[0]) == (200, 200, 200)
            assert stored(world, taken) == LONG
            assert "rows" in json.loads(row[2])
    wait_until(lambda: web.held_bytes == 0, "all bodies to be let go")


def test_a_client_that_is_ahead_waits(world: World, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is slow, little of the body is held, and others are answered."""
    started, go_on = slow_store(world, monkeypatch)
    with web.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(head(web, len(LONG)) + LONG,))
        sender.start()
        try:
            assert started.wait(20)
            wait_until(lambda: web.held_bytes >= MAX_BODY_BYTES + ENOUGH_BYTES, "the client to be ahead")
            assert web.talk(HEALTH)[0][0] == 200
            assert web.held_bytes < 2 * (MAX_BODY_BYTES + ENOUGH_BYTES)
            assert sender.is_alive()
        finally:
            go_on.set()
            sender.join(20)
        assert stored(world, answers(connection, 1)[0]) == LONG
    wait_until(lambda: web.held_bytes == 0, "all bodies to be let go")


def test_a_slow_store_is_not_the_clients_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the time of a pause nor that of a whole body ends an upload whose sender waits for us, or goes on."""
    monkeypatch.setattr(limits, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.1)
    started, go_on = slow_store(world, monkeypatch)
    with served(world) as web, web.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(head(web, len(LONG)) + LONG,))
        sender.start()
        assert started.wait(20)
        assert not go_on.wait(1.0)
        go_on.set()
        sender.join(20)
        assert stored(world, answers(connection, 1)[0]) == LONG
    with served(world) as web, web.connect() as connection:
        connection.sendall(head(web, len(SHORT)))
        for at in range(0, len(SHORT), 300_000):
            assert not threading.Event().wait(0.1)
            connection.sendall(SHORT[at : at + 300_000])
        assert stored(world, answers(connection, 1)[0]) == SHORT


@pytest.mark.parametrize("sent", [1000, MAX_BODY_BYTES + 1000])
def test_who_stops_sending_is_told_so(world: World, monkeypatch: pytest.MonkeyPatch, sent: int) -> None:
    """408, before and after the route has begun to read; nothing is left of the body."""
    monkeypatch.setattr(limits, "STALL_SECONDS", 0.3)
    with served(world) as web:
        with web.connect() as connection:
            connection.sendall(head(web, len(SHORT)) + SHORT[:sent])
            answer = answers(connection)[0]
            assert code(answer) == (408, "request_timeout")
            assert answer[1]["connection"] == "close"
        assert code(web.talk(head(web, len(SHORT)) + SHORT[:sent])[0]) == (408, "request_timeout")
        wait_until(lambda: web.held_bytes == 0, "all bodies to be let go")
    assert list(world.blobs.list("batch/")) == []


def test_a_client_that_goes_away_ends_its_upload(world: World, web: Web) -> None:
    """The threads are free for others, and nothing is left of what was sent."""
    for _ in range(5):
        with web.connect() as connection:
            connection.sendall(head(web, len(SHORT)) + SHORT[: MAX_BODY_BYTES + 1000])
    wait_until(lambda: web.connections == 0 and web.held_bytes == 0, "all bodies to be let go")
    assert stored(world, web.talk(head(web, len(SHORT)) + SHORT)[0]) == SHORT
    assert len(list(world.blobs.list("batch/up"))) == 1


REFUSED: dict[str, tuple[Callable[[Web], bytes], tuple[int, str]]] = {
    "an unknown key": (
        lambda web: head(web, len(LONG), key="ty_0123456789abcdef_" + "0" * 64 + "_00000000") + LONG,
        (401, "bad_key"),
    ),
    "a reference that is too long": (
        lambda web: head(web, len(LONG), kind="application/json") + LONG,
        (413, "too_large"),
    ),
    "a chunk that is none": (
        lambda web: head(web, None) + chunks(SHORT, 300_000)[:-5] + b"zz\r\n",
        (400, "bad_request"),
    ),
    "another method": (
        lambda web: head(web, len(LONG)).replace(b"POST", b"PUT", 1) + LONG,
        (405, "method_not_allowed"),
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_can_be_read(world: World, web: Web, kind: str) -> None:
    """By a client that sends all of its body first; the connection ends then, and the rest is no request."""
    sent, expected = REFUSED[kind]
    found = web.talk(sent(web) + HEALTH)
    assert [code(answer) for answer in found] == [expected]
    assert found[0][1]["connection"] == "close"
    wait_until(lambda: web.held_bytes == 0, "all bodies to be let go")
    assert list(world.blobs.list("batch/")) == []


def test_a_body_beyond_the_setting_is_refused(made_world: Callable[..., World]) -> None:
    """413 while the client still sends; nothing of it is left."""
    world = made_world(TRAINYARD_BATCH_MAX_BYTES=str(12 * MEBIBYTE))
    with served(world) as web:
        assert code(web.talk(head(web, len(LONG)) + LONG)[0]) == (413, "too_large")
        wait_until(lambda: web.held_bytes == 0, "all bodies to be let go")
    assert list(world.blobs.list("batch/")) == []


def test_whoever_asks_first_is_told_to_go_on(world: World, web: Web) -> None:
    """``Expect: 100-continue`` for what other routes would refuse by its length."""
    with web.connect() as connection:
        connection.sendall(head(web, len(SHORT), "Expect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(SHORT)
        assert stored(world, answers(connection, 1)[0]) == SHORT


def test_uploads_that_wait_do_not_hold_up_others(world: World, web: Web) -> None:
    """More of them than there are threads, and a request that a thread must answer."""
    slow = [web.connect() for _ in range(6)]
    try:
        for connection in slow:
            connection.sendall(head(web, len(SHORT)) + SHORT[: MAX_BODY_BYTES + 1000])
        wait_until(lambda: web.held_bytes >= 6 * MAX_BODY_BYTES, "the uploads to be under way")
        metrics = HEALTH.replace(b"/healthz", b"/metrics")
        assert web.talk(metrics)[0][0] == 200
    finally:
        for connection in slow:
            connection.close()


def test_the_end_does_not_wait_for_an_upload_that_stands_still(world: World) -> None:
    """Asked to stop, the server waits as long as it may, and leaves no thread behind."""
    with served(world) as web:
        web.grace_seconds = 0.5
        with web.connect() as connection:
            connection.sendall(head(web, len(SHORT)) + SHORT[: MAX_BODY_BYTES + 1000])
            wait_until(lambda: web.held_bytes > 0, "the upload to be under way")
            web.stop()
    wait_until(
        lambda: not any(thread.name.startswith("predictor-upload") for thread in threading.enumerate()),
        "the thread to end",
    )
    assert list(world.blobs.list("batch/")) == []
