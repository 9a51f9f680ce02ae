"""The predictor as it runs: gunicorn with two workers, S3 and SQS of the emulator, SIGKILL and SIGTERM."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.auth import make_key
from trainyard.messages import PredictionLogged, decode
from trainyard.serving_object import PREFIX, ServedModel, decode_serving
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.processes import PREDICTOR, answers, end, free_port, wait_until
from trainyard.testing.publishing import point_alias, publish_key, publish_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config

ROWS = sample_rows(3)


class Predictor:
    """The process tree under test."""

    def __init__(self, environment: dict[str, str], spool: Path) -> None:
        self._environment = {**os.environ, **environment, "TRAINYARD_SPOOL_DIR": str(spool)}
        self._environment["TRAINYARD_METRICS_DIR"] = str(spool / "metrics")
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start gunicorn as the stack does and wait until it is ready."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", *PREDICTOR, "--workers", "2", "--bind", f"127.0.0.1:{self.port}",
             "--log-level", "warning"],
            env=self._environment, start_new_session=True,
        )  # fmt: skip
        wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/readyz"), "the predictor")

    def kill(self) -> None:
        """SIGKILL to master and workers at once."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> int:
        """SIGTERM to the master; return its exit code."""
        assert self._process is not None
        end(self._process, seconds=30)
        return int(self._process.returncode)

    def ask(self, key: str, target: str = "flights", body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        """POST a prediction."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = json.dumps({"rows": ROWS}).encode() if body is None else body
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", f"/v1/predict/{target}", sent, headers)
        response = connection.getresponse()
        value = json.loads(response.read())
        connection.close()
        return response.status, value


@pytest.fixture
def blobs(aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup) -> S3Blobs:
    """This test's bucket on the emulator."""
    return S3Blobs(aws_clients.s3, aws_config.bucket)


@pytest.fixture
def key(blobs: S3Blobs) -> str:
    """A key that may predict; `flights` has version 1 as champion."""
    point_alias(blobs, publish_version(blobs, sample_model(seed=1), 1), seq=1)
    return publish_key(blobs, "predict")


@pytest.fixture
def predictor(aws_environment: dict[str, str], key: str, tmp_path: Path) -> Iterator[Predictor]:
    """A running predictor of this test's own."""
    made = Predictor(aws_environment, tmp_path / "spool")
    made.start()
    yield made
    made.stop()


def received(queue: SqsQueue) -> list[str]:
    """Take every message off the queue and return the ids of the predictions in them."""
    ids = []
    while messages := queue.receive(limit=10, wait_seconds=1, visibility_seconds=60):
        for message in messages:
            decoded = decode(message.type, message.body)
            assert isinstance(decoded, PredictionLogged)
            ids += [str(record["id"]) for record in decoded.records]
            queue.delete(message.receipt)
    return ids


def test_a_promotion_under_steady_requests_fails_none(predictor: Predictor, blobs: S3Blobs, key: str) -> None:
    """Threads ask without pause while the alias moves: all answers are 200, and soon all are of the new version."""
    stop = threading.Event()
    statuses: list[int] = []
    versions: list[int] = []

    def hammer() -> None:
        while not stop.is_set():
            status, value = predictor.ask(key)
            statuses.append(status)
            versions.append(value.get("version", 0))

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(versions) > 20, "answers by version 1")
        point_alias(blobs, publish_version(blobs, sample_model(seed=2), 2), seq=2)
        wait_until(lambda: versions[-20:] == [2] * 20, "answers by version 2 from both workers", seconds=10)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert set(statuses) == {200}
    assert set(versions) == {1, 2}


def test_each_worker_says_what_it_serves(predictor: Predictor, blobs: S3Blobs, key: str) -> None:
    """Every worker that was asked tells S3 which version it answers with, follows a move, and takes its word back."""

    def told() -> list[list[ServedModel]]:
        return [decode_serving(blobs.get(info.key).data) for info in blobs.list(PREFIX)]

    def both(version: int) -> bool:
        predictor.ask(key)
        return [[one.version for one in said] for said in told()] == [[version], [version]]

    wait_until(lambda: both(1), "both workers to say version 1", seconds=30)
    point_alias(blobs, publish_version(blobs, sample_model(seed=2), 2), seq=2)
    wait_until(lambda: both(2), "both workers to say version 2", seconds=10)
    assert {one.seq for said in told() for one in said} == {2}
    assert predictor.stop() == 0
    assert told() == []


def test_kill_9_loses_no_prediction(
    predictor: Predictor, key: str, aws_clients: AwsClients, aws_config: Config, tmp_path: Path
) -> None:
    """Predictions that were answered while the queue was away outlive SIGKILL of everything, each reaches the queue."""
    url = aws_clients.sqs.get_queue_url(QueueName=aws_config.queue_predictions)["QueueUrl"]
    attributes = {"VisibilityTimeout": "60"}
    aws_clients.sqs.delete_queue(QueueUrl=url)  # the queue is away: sends fail, answers go on
    sent: list[str] = []
    for _ in range(40):
        status, value = predictor.ask(key)
        assert status == 200
        assert all("logged" not in row for row in value["rows"])
        sent += [row["prediction_id"] for row in value["rows"]]
    predictor.kill()
    assert list((tmp_path / "spool").glob("*.spool"))
    aws_clients.sqs.create_queue(QueueName=aws_config.queue_predictions, Attributes=attributes)
    predictor.start()
    wait_until(lambda: not list((tmp_path / "spool").glob("*.spool")), "the spool to be shipped")
    got = received(SqsQueue(aws_clients.sqs, aws_config.queue_predictions))
    assert set(got) == set(sent)
    assert len(sent) == 120


def test_sigterm_ships_what_is_spooled(
    predictor: Predictor, key: str, aws_clients: AwsClients, aws_config: Config, tmp_path: Path
) -> None:
    """Asked to stop, the predictor ends in good order, and the last answers are in the queue."""
    sent = [row["prediction_id"] for _ in range(5) for row in predictor.ask(key)[1]["rows"]]
    assert predictor.stop() == 0
    assert not list((tmp_path / "spool").glob("*.spool"))
    assert set(received(SqsQueue(aws_clients.sqs, aws_config.queue_predictions))) == set(sent)


def test_the_workers_of_one_gunicorn_keep_one_limit(aws_environment: dict[str, str], key: str, tmp_path: Path) -> None:
    """Whichever worker takes a connection: of 30 requests by one key the burst of 6 is answered."""
    limited = {**aws_environment, "TRAINYARD_KEY_RATE": "0.001", "TRAINYARD_KEY_BURST": "6"}
    predictor = Predictor(limited, tmp_path / "spool")
    predictor.start()
    try:
        with ThreadPoolExecutor(8) as clients:  # at once, so that both workers have connections
            statuses = list(clients.map(lambda _: predictor.ask(key)[0], range(30)))
        assert sorted(statuses) == [200] * 6 + [429] * 24
    finally:
        predictor.stop()


def test_a_body_far_over_the_limit_gets_its_answer(predictor: Predictor, key: str) -> None:
    """100 MB of body: 413 with words, not a broken connection, and the service goes on."""
    status, value = predictor.ask(key, body=b" " * 100_000_000)
    assert (status, value["error"]["code"]) == (413, "too_large")
    assert predictor.ask(key)[0] == 200


def test_both_workers_are_counted(predictor: Predictor, key: str) -> None:
    """/metrics adds up what all workers did, whichever of them is scraped."""
    for _ in range(30):
        predictor.ask(key)

    def scraped() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", predictor.port, timeout=5)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return 'trainyard_predictions_total{model="flights",version="1"} 90\n' in text

    wait_until(scraped, "90 rows in the metrics")


def test_a_file_of_20_mib_becomes_a_batch_job(predictor: Predictor, key: str, blobs: S3Blobs) -> None:
    """Over TCP it goes to the store in parts while it comes; a refusal can be read by who sends all of it first."""
    data = b"".join(b"%020d\n" % number for number in range(1_000_000))

    def send(word: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", predictor.port, timeout=60)
        headers = {"Authorization": f"Bearer {word}", "Content-Type": "text/csv"}
        connection.request("POST", "/v1/batch-jobs?model=flights", data, headers)
        response = connection.getresponse()
        value = json.loads(response.read())
        connection.close()
        return response.status, value

    status, job = send(key)
    assert status == 202, job
    assert blobs.get(job["input"]).data == data
    status, refused = send(make_key())
    assert (status, refused["error"]["code"]) == (401, "bad_key")
