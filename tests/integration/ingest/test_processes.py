"""The service as it really runs, gunicorn and worker, on Postgres and the AWS emulator, with kill -9 on the way."""

import signal
import socket
import subprocess
import sys

import pytest
import requests
import sqlalchemy as sa

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.auth import KEYS_OBJECT, LiveKey, encode_keys, make_key, parse_key
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.messages import FeedbackGiven, PredictionLogged
from trainyard.schema import Column, Schema
from trainyard.testing.emulator import AwsEmulator
from trainyard.testing.processes import answers, end, free_port, wait_until

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


class Place:
    """An emulator that may be killed, a database, and the processes that were started on them."""

    def __init__(self, emulator, database_url, directory):
        self.emulator = emulator
        self.directory = directory
        self.environment = {
            **emulator.environment,
            "TRAINYARD_ENV": "test",
            "TRAINYARD_DATABASE_URL": database_url,
            "TRAINYARD_LANDING_SWEEP_SECONDS": "3600",
            "PATH": "/usr/bin:/bin",
            "HOME": str(directory),
        }
        self.config = load(self.environment)
        access = {"access_key": emulator.environment["AWS_ACCESS_KEY_ID"], "secret_key": "test"}
        self.clients = AwsClients(self.config, **access)
        self.setup = AwsSetup(self.clients, self.config)
        self.blobs = S3Blobs(self.clients.s3, self.config.bucket)
        self.engine = make_engine(database_url, service="test")
        self.warehouse = PostgresWarehouse(self.engine, SystemClock())
        self.warehouse.create("shop", Schema([Column("id", "int")]), actor="k")
        self.processes = []
        self.workers = []

    def start(self, *command, **environment):
        """Start a Python module as a process."""
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], env={**self.environment, **environment}, stderr=log
            )
        self.processes.append(process)
        return process

    def worker(self, **environment):
        """Start a worker; it is built to be killed at any time, so nobody waits for it at the end."""
        process = self.start("trainyard_ingest.main", **environment)
        self.workers.append(process)
        return process

    def batches(self):
        return self.warehouse.batches(self.warehouse.dataset("shop"), limit=10)

    def stored(self):
        """Return rows of the table, batches in the ledger and messages in the outbox."""
        queries = (
            "SELECT count(*) FROM data.shop",
            "SELECT count(*) FROM core.batch",
            "SELECT count(*) FROM core.outbox",
        )
        with self.engine.connect() as connection:
            return tuple(connection.execute(sa.text(query)).scalar_one() for query in queries)


@pytest.fixture
def place(tmp_path, database_url):
    """A place whose processes are ended after the test."""
    emulator = AwsEmulator(tmp_path / "aws")
    emulator.start()
    place = Place(emulator, database_url, tmp_path)
    place.setup.ensure()
    yield place
    for worker in place.workers:
        worker.kill()
    for process in place.processes:
        end(process)
    place.engine.dispose()
    place.clients.close()
    emulator.kill()


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


def test_emulator_killed_before_the_notification_was_read(place):
    """The notification is lost with the emulator's memory, the file is not: the sweep takes it."""
    place.blobs.put("landing/shop/a.csv", BODY)
    place.emulator.kill()
    place.emulator.start()
    place.worker()
    wait_until(place.batches, "the batch")
    assert place.stored() == (3, 1, 1)


def test_emulator_killed_under_the_worker(place):
    """The worker lives on, makes its queue again, and takes what comes afterwards."""
    place.worker()
    place.blobs.put("landing/shop/a.csv", BODY)
    wait_until(lambda: len(place.batches()) == 1, "the first batch")
    place.emulator.kill()
    place.emulator.start()
    place.blobs.put("landing/shop/b.csv", b"id\n4\n")
    wait_until(lambda: len(place.batches()) == 2, "the second batch", seconds=40)
    assert place.stored() == (4, 2, 2)


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


class Web:
    """gunicorn with the service, and a key for it."""

    def __init__(self, place, **environment):
        key = make_key()
        parsed = parse_key(key)
        place.blobs.put(
            KEYS_OBJECT, encode_keys([LiveKey(parsed.key_id, parsed.secret_sha256, ("ingest", "feedback"), None)])
        )
        self.port = free_port()
        options = ["--worker-class", "gthread", "--threads", "8", "--no-control-socket"]
        options += ["--bind", f"127.0.0.1:{self.port}"]
        place.start("gunicorn", *options, "trainyard_ingest.wsgi:app()", **environment)
        self.url = f"http://127.0.0.1:{self.port}"
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/csv"}
        self.wait()

    def wait(self):
        """Return when it is ready."""
        wait_until(lambda: answers(f"{self.url}/readyz"), "the service")

    def post(self, body, **headers):
        """Send rows to the dataset ``shop``."""
        url = f"{self.url}/v1/datasets/shop/rows"
        return requests.post(url, data=body, headers={**self.headers, **headers}, timeout=60)


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
    large = web.post((b"x" * (1 << 20) for _ in range(100)), **{"Content-Type": "application/json"})
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
