"""The same body many times at once, slow bodies, vanishing clients: over HTTP, against one gunicorn process."""

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from tests.integration.ingest.processes import Web

from trainyard.testing.processes import wait_until

SMALL = b"id\n" + b"1\n2\n3\n" * 10
LARGE_ROWS = 9_000
#: More than 8 MiB: it is stored while it comes, under the dataset's lock.
LARGE = b"id,note\n" + b"".join(b"%d,%b\n" % (n, b"x" * 1_000) for n in range(LARGE_ROWS))
assert len(LARGE) > 8 << 20
BODIES = {"small": (SMALL, 30), "large": (LARGE, LARGE_ROWS)}


@pytest.mark.parametrize("key", [None, "again"])
@pytest.mark.parametrize("size", BODIES)
def test_eight_at_once_are_one_batch(place, size, key):
    """Eight clients send the same body at the same time: one stores it, all get the same answer."""
    body, rows = BODIES[size]
    web = Web(place)
    headers = {} if key is None else {"Idempotency-Key": key}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: web.post(body, **headers), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["rows"] == rows
    assert place.stored() == (rows, 1, 1)


@pytest.mark.parametrize(("point", "key"), [("K3", None), ("K7", "again"), ("K8", None)])
def test_large_body_after_a_kill(place, point, key):
    """The process is killed amid a large body, or behind its COMMIT; sent again, twice, it is one batch."""
    web = Web(place, CHAOS=f"{point}:kill9:once={place.directory / 'killed'}")
    headers = {} if key is None else {"Idempotency-Key": key}
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        web.post(LARGE, **headers)
    web.wait()
    first, second = web.post(LARGE, **headers), web.post(LARGE, **headers)
    assert (first.status_code, second.status_code) == (200 if point == "K8" else 201, 200)
    assert first.content == second.content
    assert place.stored() == (LARGE_ROWS, 1, 1)


def opened(web, length):
    """Open a connection and send the head of an upload of ``length`` bytes."""
    connection = socket.create_connection(("127.0.0.1", web.port), timeout=60)
    head = {"Host": "localhost", **web.headers, "Content-Length": str(length)}
    lines = ["POST /v1/datasets/shop/rows HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


def test_slow_upload_holds_nobody_up(place):
    """While a body trickles in, others' are stored; at its end it is stored too."""
    web, slow = Web(place), b"id\n" + b"7\n" * 1_000
    with opened(web, len(slow)) as connection:
        connection.sendall(slow[:500])
        for number in range(3):
            assert web.post(b"id\n%d\n" % number).status_code == 201
            connection.sendall(slow[500 + number : 501 + number])
        assert place.stored() == (3, 3, 3)
        connection.sendall(slow[503:])
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        content = json.loads(answer.read())
        answer.close()
    assert (answer.status, content["first_seq"]) == (201, 4)
    assert place.stored() == (1_003, 4, 4)


@pytest.mark.parametrize("sent", [1_000, len(LARGE) - 1_000], ids=["before the lock", "under the lock"])
def test_client_that_vanishes(place, sent):
    """A client that is gone amid its body leaves no row and no lock behind; its body sent again is a new batch."""
    web = Web(place)
    with opened(web, len(LARGE)) as connection:
        connection.sendall(LARGE[:sent])
    assert web.post(SMALL).status_code == 201
    assert place.stored() == (30, 1, 1)
    wait_until(lambda: not locks(place), "the lock to be free")
    assert web.post(LARGE).json()["first_seq"] == 31


def locks(place):
    """Return how many transactions are open in the database besides the one that asks."""
    with place.engine.connect() as connection:
        return connection.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
            " AND pid <> pg_backend_pid()"
        ).scalar_one()
