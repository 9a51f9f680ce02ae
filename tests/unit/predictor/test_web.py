"""The HTTP road at its edges: real (Unix) sockets, the loop in a thread, the handler of a predictor on fakes."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from event_loop import BODY, HEALTH, Web, answers, code, served

from trainyard.testing.models import sample_rows
from trainyard.testing.processes import wait_until
from trainyard_predictor.handler import MAX_BODY_BYTES
from trainyard_predictor.web import connection as limits
from trainyard_predictor.web import server
from trainyard_predictor.web.server import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import World

#: Too much to be answered in the loop.
MANY = json.dumps({"rows": sample_rows(200)}).encode()


@pytest.fixture
def web(world: World) -> Iterator[Web]:
    """A server of this test's own."""
    with served(world) as made:
        yield made


def test_a_prediction_passes_through(web: Web) -> None:
    """Status line, headers and length are those of the handler's answer; few rows and many."""
    for body, rows in ((BODY, 1), (MANY, 200)):
        ((status, headers, answer),) = web.talk(web.post(body))
        assert status == 200
        assert headers["content-type"] == "application/json"
        assert headers["x-trainyard-version"] == "1"
        assert len(json.loads(answer)["rows"]) == rows
        assert headers["date"].endswith("GMT")


def test_answers_come_in_the_order_of_requests(web: Web) -> None:
    """Pipelined requests, some of which a thread answers, each get their own answer, however the bytes are cut."""
    sent = b"".join([web.post(BODY), web.post(MANY), HEALTH, web.post(BODY)] * 5)
    expected = [1, 200, None, 1] * 5
    for size in (len(sent), 4_001):
        found = web.talk(*[sent[at : at + size] for at in range(0, len(sent), size)])
        assert [status for status, _, _ in found] == [200] * 20
        rows = [json.loads(body).get("rows") for _, _, body in found]
        assert [None if one is None else len(one) for one in rows] == expected
    wait_until(lambda: web.held_bytes == 0, "all bodies to be let go")


def test_a_connection_is_kept_unless_somebody_says_otherwise(web: Web) -> None:
    """HTTP/1.1 keeps it, HTTP/1.0 only where it is asked for."""
    with web.connect() as connection:
        for _ in range(3):
            connection.sendall(HEALTH)
            assert answers(connection, 1)[0][0] == 200
        connection.sendall(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        ((_, headers, _),) = answers(connection)
        assert headers["connection"] == "close"
    old = HEALTH.replace(b"1.1", b"1.0")
    with web.connect() as connection:
        connection.sendall(old)
        assert len(answers(connection)) == 1
    with web.connect() as connection:
        kept = old.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
        connection.sendall(kept)
        assert answers(connection, 1)[0][1]["connection"] == "keep-alive"
        connection.sendall(kept)
        assert answers(connection, 1)[0][0] == 200


def test_head_has_no_body(web: Web) -> None:
    """The answer to HEAD carries the length but not the bytes."""
    with web.connect() as connection:
        connection.sendall(HEALTH.replace(b"GET", b"HEAD"))
        connection.shutdown(socket.SHUT_WR)
        ((status, headers, _),) = answers(connection, head_only=True)
        assert status == 405
        assert int(headers["content-length"]) > 0
        assert connection.recv(1) == b""


def test_chunks_are_put_together(web: Web) -> None:
    """With extensions and trailers, which say nothing here."""
    half = len(BODY) // 2
    parts = [b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in (BODY[:half], BODY[half:])]
    chunked = b"".join([*parts, b"0\r\nAuthorization: none\r\n\r\n"])
    assert web.talk(web.post(chunked, "Transfer-Encoding: chunked"))[0][0] == 200


def test_whoever_asks_first_is_told_to_go_on(web: Web) -> None:
    """``Expect: 100-continue`` gets its answer before the body comes, and one that is too long is refused at once."""
    with web.connect() as connection:
        connection.sendall(web.post(b"", "Expect: 100-continue", length=len(BODY)))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert answers(connection, 1)[0][0] == 200
        connection.sendall(web.post(b"", "Expect: 100-continue", length=MAX_BODY_BYTES + 1))
        assert code(answers(connection, 1)[0]) == (413, "too_large")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused_and_thrown_away(web: Web, chunked: bool) -> None:
    """The refusal can be read by a client that sends all of it first; the connection ends then."""
    body = b" " * (5 * MAX_BODY_BYTES)
    request = (
        web.post(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), "Transfer-Encoding: chunked")
        if chunked
        else web.post(body)
    )
    found = web.talk(request)
    assert code(found[0]) == (413, "too_large")
    assert found[0][1]["connection"] == "close"
    assert len(found) == 1


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
BROKEN: dict[str, Callable[[Web], bytes]] = {
    "a length beside chunks": lambda web: web.post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 5"),
    "chunks beside a length": lambda web: web.post(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "two lengths": lambda web: web.post(BODY, f"Content-Length: {len(BODY)}"),
    "a list of lengths": lambda web: HEALTH.replace(b"\r\n\r\n", b"\r\nContent-Length: 0, 0\r\n\r\n"),
    "a length that is none": lambda web: HEALTH.replace(b"\r\n\r\n", b"\r\nContent-Length: +0\r\n\r\n"),
    "a huge length": lambda web: HEALTH.replace(b"\r\n\r\n", b"\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n"),
    "another coding": lambda web: web.post(b"0\r\n\r\n", "Transfer-Encoding: gzip, chunked"),
    "an unknown coding": lambda web: web.post(b"0\r\n\r\n", "Transfer-Encoding: xchunked"),
    "chunks in HTTP/1.0": lambda web: web.post(b"0\r\n\r\n", "Transfer-Encoding: chunked").replace(b"/1.1", b"/1.0", 1),
    "a chunk that is none": lambda web: web.post(b"zz\r\n", "Transfer-Encoding: chunked"),
    "a folded header": lambda web: HEALTH.replace(b"\r\n\r\n", b"\r\nA: b\r\n c\r\n\r\n"),
    "a space before the colon": lambda web: HEALTH.replace(b"\r\n\r\n", b"\r\nA : b\r\n\r\n"),
    "a line feed alone": lambda web: HEALTH.replace(b"\r\n", b"\n"),
    "a NUL": lambda web: HEALTH.replace(b"localhost", b"local\0host"),
    "two hosts": lambda web: HEALTH.replace(b"\r\n\r\n", b"\r\nHost: localhost\r\n\r\n"),
    "no host": lambda web: b"GET /healthz HTTP/1.1\r\n\r\n",
    "HTTP/0.9": lambda web: b"GET /healthz\r\n\r\n",
    "HTTP/2": lambda web: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": lambda web: b"\x16\x03\x01\x02\x00\x01\x00",
    "a path in Latin-1": lambda web: HEALTH.replace(b"healthz", b"\xff\xfe"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_two_readers_could_read_differently_is_refused(web: Web, kind: str) -> None:
    """400 in our JSON, and nothing behind it on the connection is taken for a request."""
    found = web.talk(BROKEN[kind](web) + SMUGGLED)
    assert [code(answer) for answer in found] == [(400, "bad_request")]
    assert found[0][1]["connection"] == "close"
    assert found[0][1]["x-request-id"]


def test_a_head_that_is_too_large_is_refused(web: Web) -> None:
    """By its bytes, by its number of headers, and before it has come to its end."""
    long = b"A: " + b"x" * limits.MAX_HEAD_BYTES
    for lines in (long, b"\r\n".join(b"H%d: x" % number for number in range(limits.MAX_HEADERS + 1))):
        (answer,) = web.talk(HEALTH.replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n\r\n"))
        assert code(answer) == (431, "headers_too_large")
    (answer,) = web.talk(HEALTH[:-4] + b"\r\n" + long + b"y" * 1000)
    assert code(answer) == (431, "headers_too_large")
    (answer,) = web.talk(HEALTH.replace(b"/healthz", b"/" + b"x" * 5000))
    assert code(answer) == (414, "uri_too_long")


def test_paths_are_decoded(web: Web) -> None:
    """Percent signs, a whole address as target, a query."""
    for target in (b"/health%7A", b"http://localhost/healthz", b"/healthz?a=b"):
        assert web.talk(HEALTH.replace(b"/healthz", target))[0][0] == 200
    assert code(web.talk(HEALTH.replace(b"/healthz", b"/%ff"))[0]) == (404, "not_found")


def test_another_protocol_is_not_taken_up(web: Web) -> None:
    """A request that would like to upgrade is answered as it is, and the connection ends."""
    found = web.talk(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"))
    assert [status for status, _, _ in found] == [200]
    assert code(web.talk(b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n")[0])[0] in (404, 405)


def test_a_request_that_stops_half_way_is_told_so(web: Web) -> None:
    """A client that ends its side in a head or a body gets 408."""
    for part in (HEALTH[:-2], web.post(BODY)[:-5], web.post(b"5\r\nab", "Transfer-Encoding: chunked")):
        assert code(web.talk(part)[0]) == (408, "request_timeout")
    wait_until(lambda: web.held_bytes == 0, "all bodies to be let go")


def test_who_sends_too_slowly_is_told_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """408 for a head or a body that does not come; silence for a connection that asks nothing."""
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(limits, "STALL_SECONDS", 0.2)
    with served(world, keep_alive_seconds=0.2) as web:
        for part in (HEALTH[:-2], web.post(BODY)[:-5]):
            with web.connect() as connection:
                connection.sendall(part)
                assert code(answers(connection)[0]) == (408, "request_timeout")
        with web.connect() as connection:
            assert connection.recv(1) == b""
        with web.connect() as connection:
            connection.sendall(HEALTH)
            assert len(answers(connection)) == 1


def test_slow_sockets_do_not_slow_others(world: World) -> None:
    """With hundreds of clients that send a byte now and then, and as many that send nothing, others are answered."""
    with served(world, connections=1000) as web:
        slow = [web.connect() for _ in range(400)]
        try:
            wait_until(lambda: web.connections == 400, "the slow ones to be accepted")
            request = web.post(BODY)
            with web.connect() as connection:
                for number in range(200):
                    slow[number].sendall(request[: 1 + number % 100])
                    connection.sendall(request)
                    assert answers(connection, 1)[0][0] == 200
            assert web.connections >= 400
        finally:
            for one in slow:
                one.close()


def test_beyond_the_limit_the_longest_waiting_makes_room(world: World) -> None:
    """Clients that keep sockets open without asking cannot keep others out, and one that asks is not put out."""
    with served(world, connections=20) as web, web.connect() as asking:
        asking.sendall(HEALTH)
        assert answers(asking, 1)[0][0] == 200
        silent = []
        try:
            for _ in range(100):
                silent.append(web.connect())
                asking.sendall(HEALTH)
                assert answers(asking, 1)[0][0] == 200
            with web.connect() as late:
                late.sendall(HEALTH)
                assert answers(late, 1)[0][0] == 200
            assert web.connections <= 20
        finally:
            for one in silent:
                one.close()


def test_a_slow_answer_keeps_nobody_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While threads compute for others, a quick request is answered."""
    with served(world) as web:
        started, go_on = threading.Event(), threading.Event()
        handle = world.service.handler.handle

        def slow(request: Any) -> Any:
            if request.path == "/v1/predict/flights" and request.body == MANY:
                started.set()
                assert go_on.wait(20)
            return handle(request)

        monkeypatch.setattr(web._server, "answer", slow)
        with web.connect() as waiting, web.connect() as quick:
            waiting.sendall(web.post(MANY) + HEALTH)
            assert started.wait(20)
            quick.sendall(web.post(BODY))
            assert answers(quick, 1)[0][0] == 200
            go_on.set()
            assert [status for status, _, _ in answers(waiting, 2)] == [200, 200]


def test_what_is_under_way_is_answered_at_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to stop, the server answers what it was asked, and closes what is idle."""
    with served(world) as web:
        started, go_on = threading.Event(), threading.Event()
        handle = world.service.handler.handle

        def slow(request: Any) -> Any:
            started.set()
            assert go_on.wait(20)
            return handle(request)

        monkeypatch.setattr(web._server, "answer", slow)
        with web.connect() as waiting, web.connect() as idle:
            waiting.sendall(web.post(MANY))
            assert started.wait(20)
            ending = threading.Thread(target=web.stop)
            ending.start()
            assert idle.recv(1) == b""
            go_on.set()
            ((status, headers, _),) = answers(waiting)
            assert (status, headers["connection"]) == (200, "close")
            ending.join(20)


def test_a_client_that_does_not_read_is_not_answered_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that nobody takes are held up to a limit, then the connection ends; others are answered meanwhile."""
    monkeypatch.setattr(limits, "UNREAD_SECONDS", 0.5)
    with served(world) as web, web.connect() as deaf:
        request = web.post(MANY)

        def send_for_ever() -> None:
            while True:
                deaf.sendall(request)

        with pytest.raises(ConnectionError):
            send_for_ever()
        assert web.talk(HEALTH)[0][0] == 200
        wait_until(lambda: web.connections == 0, "the connection to be ended")
        assert web.held_bytes == 0


def test_workers_share_connections_evenly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has fewest takes the next, also where they all come at once; one that is dead is not waited for."""
    monkeypatch.setattr(server, "_COURTESY_SECONDS", 10.0)  # nobody is slower than that
    with served(world) as web:
        other = Web(world, Settings(threads=2, connections=100, keep_alive_seconds=30.0), web)
        try:
            wait_until(lambda: web.fellows.have_fewer(1, time.monotonic()), "the other one to be known")
            opened = [web.connect() for _ in range(8)]
            for connection in opened:
                connection.sendall(HEALTH)
                assert answers(connection, 1)[0][0] == 200
            assert (web.connections, other.connections) == (4, 4)
            for connection in opened:
                connection.close()
        finally:
            other.stop()
        assert not web.fellows.have_fewer(1, time.monotonic() + 10)
