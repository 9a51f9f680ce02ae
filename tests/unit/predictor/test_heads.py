"""A head that came before is not parsed again, and nobody can tell by the answers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from event_loop import BODY, HEALTH, Web, answers, code, served

from trainyard.testing.models import sample_rows
from trainyard.testing.publishing import publish_key
from trainyard_predictor.web import heads as limits
from trainyard_predictor.web.heads import Heads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import World

#: Bodies of one length that say different things.
OTHERS = [json.dumps({"rows": [row]}).encode().ljust(400) for row in sample_rows(4)]
_ID = re.compile(rb"pr_[0-9a-f]{32}")


@pytest.fixture
def web(world: World) -> Iterator[Web]:
    """A server of this test's own."""
    with served(world) as made:
        yield made


def test_each_body_gets_its_own_answer(web: Web) -> None:
    """Whether its head is new or was there a moment ago, on this connection or on another."""
    alone = [_ID.sub(b"", web.talk(web.post(body))[0][2]) for body in OTHERS]
    assert len(set(alone)) == len(OTHERS)
    with web.connect() as connection:
        for body, expected in zip(OTHERS * 3, alone * 3, strict=True):
            connection.sendall(web.post(body))
            ((status, _, answer),) = answers(connection, 1)
            assert (status, _ID.sub(b"", answer)) == (200, expected)
    assert web.held_bytes == 0


def test_a_known_head_may_come_in_any_pieces(web: Web) -> None:
    """Cut in two, or with others before and behind it: the parser reads what is not one whole request."""
    one = web.post(OTHERS[0])
    for _ in range(2):
        assert web.talk(one)[0][0] == 200
    assert [status for status, _, _ in web.talk(one + one, one, HEALTH + one)] == [200] * 5
    with web.connect() as connection:
        for cut in (1, 20, len(one) - 300, len(one) - 1):
            connection.sendall(one[:cut])
            web.talk(HEALTH)  # by now the server has read the first piece
            connection.sendall(one[cut:])
            assert answers(connection, 1)[0][0] == 200
    assert web.held_bytes == 0


def test_a_body_that_looks_like_an_end_of_a_head(web: Web) -> None:
    """A blank line in a body ends nothing."""
    body = BODY.replace(b"{", b"{\r\n\r\n", 1)
    for _ in range(3):
        assert web.talk(web.post(body))[0][0] == 200


def test_a_key_is_looked_at_each_time(web: Web, world: World) -> None:
    """What is remembered of a head is what it says, not what it may do."""
    one = web.post(BODY)
    assert web.talk(one, one)[1][0] == 200
    publish_key(world.blobs, "predict")  # the only one that lives now
    world.service.background.refresh()
    world.clock.advance(10)
    world.service.background.refresh()
    assert code(web.talk(one)[0]) == (401, "bad_key")


def test_a_known_request_with_an_id_carries_it(web: Web) -> None:
    """The id is in the head, so it is that of each request."""
    for name in ("a", "b", "a", "b"):
        ((_, headers, _),) = web.talk(web.post(BODY, f"X-Request-Id: {name}"))
        assert headers["x-request-id"] == name


def test_what_else_a_head_says_counts_each_time(web: Web) -> None:
    """An ``Idempotency-Key`` gives the same ids again, and each refusal is repeated, however often a head comes."""
    one = web.post(BODY, "Idempotency-Key: k-1")
    first, second, third = (json.loads(body) for _, _, body in _one_by_one(web, one))
    assert first == second == third
    for line, refusal in (
        ("Content-Type: text/plain", (415, "unsupported_media")),
        (f"Idempotency-Key: {'k' * 256}", (400, "bad_request")),
        (f"x-trainyard-sticky: {'s' * 256}", (400, "bad_request")),
    ):
        refused = web.post(BODY, line)
        assert [code(answer) for answer in _one_by_one(web, refused)] == [refusal] * 3
    put = web.post(BODY).replace(b"POST", b"PUT", 1)
    assert [code(answer) for answer in _one_by_one(web, put)] == [(405, "method_not_allowed")] * 3


def test_a_known_head_asks_for_whatever_is_champion_now(web: Web, world: World) -> None:
    """A head says which alias is asked, not which version answers, or that there is one."""
    one = web.post(BODY)
    assert [json.loads(body)["version"] for _, _, body in _one_by_one(web, one)] == [1, 1, 1]
    world.publish(2)
    world.service.background.refresh()
    assert [json.loads(body)["version"] for _, _, body in _one_by_one(web, one)] == [2, 2, 2]


def test_what_closes_the_connection_is_parsed_each_time(web: Web) -> None:
    """``Connection: close`` and HTTP/1.0 are heeded however often they come."""
    for one in (web.post(BODY, "Connection: close"), web.post(BODY).replace(b"1.1", b"1.0")):
        for _ in range(3):
            with web.connect() as connection:
                connection.sendall(one)
                assert answers(connection)[0][0] == 200  # reads until the server closes


@pytest.mark.parametrize("line", ["Transfer-Encoding: chunked", "Expect: 100-continue", "Content-Encoding: gzip"])
def test_a_head_that_says_more_is_not_remembered(line: str) -> None:
    """Only the length of one plain body may stand behind a remembered head."""
    heads, name = Heads(), line.partition(":")[0].lower()
    plain = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
    request = _request({"host": "a", "content-length": "2"})
    heads.remember(plain, request)
    read = heads.read(plain)
    assert read is not None
    assert (read.method, read.path, read.headers, read.body) == ("POST", "/x", request.headers, b"{}")
    unusual = plain.replace(b"\r\nContent", f"\r\n{line}\r\nContent".encode())
    heads.remember(unusual, _request({**request.headers, name: "x"}))
    assert heads.read(unusual) is None


def test_strangers_cannot_fill_the_memory() -> None:
    """Long heads are not kept, and no more than so many of the others."""
    heads = Heads()
    for number in range(2 * limits.MOST_HEADS):
        data = b"POST /%d HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}" % number
        heads.remember(data, _request({"content-length": "2"}))
        assert heads.read(data) is not None
        assert len(heads) <= limits.MOST_HEADS
    long = b"POST /" + b"x" * limits.MOST_BYTES + b" HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    heads.remember(long, _request({"content-length": "2"}))
    assert heads.read(long) is None


def _one_by_one(web: Web, request: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Send the same request three times on one connection, each when the one before it is answered."""
    found = []
    with web.connect() as connection:
        for _ in range(3):
            connection.sendall(request)
            found += answers(connection, 1)
    return found


def _request(headers: dict[str, str]) -> limits.Request:
    return limits.Request("POST", "/x", "", headers, b"{}")
