"""The service as it really runs, gunicorn and worker, on Postgres and the AWS emulator, with kill -9 on the way."""

import json
import signal
import socket
from http.client import HTTPResponse

import pytest
import requests
from tests.integration.ingest.processes import Web

from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.messages import FeedbackGiven, PredictionLogged
from trainyard.testing.processes import wait_until

BODY = b"id\n1\n2\n3\n"
RECORD = {
    "id": "pr_1",
    "model": "buys",
    "version": 1,
    "key_id": "k",
    "trace_id": None,
    "inputs": {"age": 1},
    "output": {"prediction": 1},
    "latency_us": 1,
    "predicted_at": "2026-01-01T00:00:00+00:00",
}


def test_dropped_file_becomes_a_batch(place):
    """A file put into landing/ is a batch soon after, by its notification; SIGTERM ends the worker with 0."""
    worker = place.worker()
    log = place.directory / "log"
    wait_until(lambda: b"worker.started" in log.read_bytes(), "the worker")
    place.blobs.put("landing/shop/2013/a file, ä.csv", BODY)
    wait_until(place.batches, "the batch")
    (batch,) = place.batches()
    assert (batch.source, batch.source_name, batch.rows) == ("landing", "landing/shop/2013/a file, ä.csv", 3)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_prediction_logs_and_labels_by_queue(place):
    """What the predictor sends is logged once, though it comes twice, and labels that come as events are joined."""
    place.worker()
    queue = SqsQueue(place.clients.sqs, place.config.queue_predictions)
    logged, given = PredictionLogged([RECORD]), FeedbackGiven([{"prediction_id": "pr_1", "label": True}])
    queue.send([logged.outgoing(), logged.outgoing(), given.outgoing()])
    log = PostgresPredictionLog(place.engine)

    def labelled():
        found = log.find("pr_1")
        return found is not None and found.label is True

    wait_until(labelled, "the label")
    wait_until(lambda: queue.depth().total == 0, "the queue to be empty")
    assert len(log.page(model=None, version=None, limit=5)) == 1


def test_emulator_killed_before_the_notification_was_read(place_apart):
    """The notification is lost with the emulator's memory, the file is not: the sweep takes it."""
    place_apart.blobs.put("landing/shop/a.csv", BODY)
    place_apart.emulator.kill()
    place_apart.emulator.start()
    place_apart.worker()
    wait_until(place_apart.batches, "the batch")
    assert place_apart.stored() == (3, 1, 1)


def test_emulator_killed_under_the_worker(place_apart):
    """The worker lives on, makes its queue again, and takes what comes afterwards."""
    place_apart.worker()
    place_apart.blobs.put("landing/shop/a.csv", BODY)
    wait_until(lambda: len(place_apart.batches()) == 1, "the first batch")
    place_apart.emulator.kill()
    place_apart.emulator.start()
    place_apart.blobs.put("landing/shop/b.csv", b"id\n4\n")
    wait_until(lambda: len(place_apart.batches()) == 2, "the second batch", seconds=40)
    assert place_apart.stored() == (4, 2, 2)


@pytest.mark.parametrize("point", ["K5", "K8"])
def test_worker_killed_on_the_way(place, point):
    """kill -9 before or after COMMIT of a landing file, and a new worker: one batch, each row once."""
    place.blobs.put("landing/shop/a.csv", BODY)
    killed = place.worker(CHAOS=f"{point}:kill9")
    assert killed.wait(30) == -signal.SIGKILL
    assert place.stored() == ((3, 1, 1) if point == "K8" else (0, 0, 0))
    place.worker()
    wait_until(place.batches, "the batch")
    assert place.stored() == (3, 1, 1)


@pytest.mark.parametrize("point", ["K5", "K8"])
def test_web_worker_killed_during_an_upload(place, point):
    """The upload breaks; sent again to the process that took its place, it is one batch."""
    web = Web(place, CHAOS=f"{point}:kill9:once={place.directory / 'killed'}")
    with pytest.raises(requests.ConnectionError):
        web.post(BODY)
    web.wait()
    assert web.post(BODY).status_code == (200 if point == "K8" else 201)
    assert place.stored() == (3, 1, 1)


def test_broken_uploads(place):
    """A body that breaks off, is malformed or too large is refused, and nothing of it is stored."""
    web = Web(place)
    wide = b'{"id": 1' + b" " * ((1 << 20) - 100) + b"},"
    large = web.post((b"[" * (n == 0) + wide for n in range(100)), **{"Content-Type": "application/json"})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
    for body in (
        b"Content-Length: 1000\r\n\r\nid\n1\n",
        b"Transfer-Encoding: chunked\r\n\r\n10\r\nid\n1\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nid\n1\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nid\n1\n\r\n0\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nid\n1\n\r\nzz\r\n2\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nid\n1\n\r\n0\r\n\r\n",
    ):
        assert _status_of_broken(web, body) == 400, body
        assert _status_of_broken(web, body, "POST /v1/feedback") == 400, body
    assert place.stored() == (0, 0, 0)


def _status_of_broken(web, rest, route="POST /v1/datasets/shop/rows"):
    """Send the rest of a request, close our side, and return the status of the answer."""
    head = [f"{name}: {value}" for name, value in {"Host": "localhost", **web.headers}.items()]
    request = "\r\n".join([f"{route} HTTP/1.1", *head, ""]).encode() + rest
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return int(connection.recv(1 << 16).split()[1])


def _asked(web, request):
    """Return status, content type and code of the answer to bytes that are no request."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        connection.sendall(request)
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.getheader("Content-Type"), json.loads(answer.read())["error"]["code"]


def test_what_is_no_http(place):
    """What never reaches the application is refused in the same words as all else, and the service goes on."""
    web = Web(place)
    refused = (400, "application/json", "bad_request")
    for request in (
        b"GET /v1/datasets?cursor=" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/datasets HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /v1/datasets HTTP/1.1\r\nbad header: a\r\n\r\n",
        b"GET /v1/datasets HTTP/9.9\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ):
        assert _asked(web, request) == refused, request[:40]
    assert web.post(BODY).status_code == 201
