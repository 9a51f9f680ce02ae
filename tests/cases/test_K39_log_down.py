"""The prediction log's queue is away while predictions are asked for, and then the disk is full as well.

Set-up: nothing gets through to S3 and SQS for a while; then the spool has no room left. Seen: an answer of 200 without
a flag means that its record is on the predictor's disk, and it is in the database once, soon after the queue is back;
what could not be written is answered all the same, flagged ``"logged": false`` in each row, and counted. Under the
policy ``closed`` it is 503 instead, so no answer of 200 is without its record.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.processes import wait_until
from trainyard.testing.publishing import point_alias, publish_key, publish_version
from trainyard_ingest.edges import Consumer, predictions_handler
from trainyard_ingest.use_cases.feedback import TakeFeedback
from trainyard_predictor import bootstrap
from trainyard_predictor.edges import spool
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    import pytest
    from tests.cases.wire import Wire
    from tests.cases.yard import Yard

    from trainyard_predictor.handler import Response

ROWS = sample_rows(2)
ASKED = 10


class Predictor:
    """A predictor in this process, behind the wire, with its two threads."""

    def __init__(self, yard: Yard, wire: Wire, *, policy: str = "open") -> None:
        point_alias(yard.blobs, publish_version(yard.blobs, sample_model(seed=1), 1), seq=1)
        self._key = publish_key(yard.blobs, "predict")
        config = load(
            {
                **yard.environment,
                "AWS_ENDPOINT_URL": wire.endpoint,
                "TRAINYARD_PREDICTION_LOG_POLICY": policy,
            }
        )
        self.clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        self.service = bootstrap.build(
            config,
            blobs=S3Blobs(self.clients.s3, config.bucket),
            queue=SqsQueue(self.clients.sqs, config.queue_predictions),
        )
        self.service.background.start()

    def ask(self) -> list[dict[str, Any]]:
        """Ask for predictions and return the rows of the answer, which must be 200."""
        answer = self.answer()
        assert answer.status == 200, answer.body
        rows: list[dict[str, Any]] = json.loads(answer.body)["rows"]
        return rows

    def answer(self) -> Response:
        """Ask for predictions."""
        headers = {
            "host": "127.0.0.1:8083",
            "authorization": f"Bearer {self._key}",
            "content-type": "application/json",
        }
        body = json.dumps({"rows": ROWS}).encode()
        return self.service.handler.handle(Request("POST", "/v1/predict/flights", "", headers, body))

    def metrics(self) -> str:
        """Return what Prometheus reads."""
        return self.service.handler.handle(Request("GET", "/metrics", "", {"host": "localhost"})).body.decode()

    def close(self) -> None:
        """End it."""
        self.service.background.close()
        self.clients.close()


def test_open_and_flagged(yard: Yard, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every id that was answered without a flag is in the log once, and none of the flagged ones."""
    predictor = Predictor(yard, wire)
    promised = [row["prediction_id"] for row in predictor.ask()]
    wire.down = True
    unflagged = [row for _ in range(ASKED) for row in predictor.ask()]
    assert not any("logged" in row for row in unflagged)
    promised += [row["prediction_id"] for row in unflagged]
    monkeypatch.setattr(predictor.service.spool, "_max_bytes", 0)
    flagged = [row for _ in range(ASKED) for row in predictor.ask()]
    assert [row["logged"] for row in flagged] == [False] * ASKED * len(ROWS)
    assert f"trainyard_predictions_not_logged_total {ASKED * len(ROWS)}\n" in predictor.metrics()
    monkeypatch.setattr(predictor.service.spool, "_max_bytes", spool.MAX_BYTES)
    wire.down = False

    assert sorted(logged_of(yard, predictor, len(promised))) == sorted(promised)


def test_closed(yard: Yard, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full nothing is answered; whatever was answered is in the log once, and nothing else."""
    predictor = Predictor(yard, wire, policy="closed")
    promised = [row["prediction_id"] for row in predictor.ask()]
    wire.down = True
    promised += [row["prediction_id"] for _ in range(ASKED) for row in predictor.ask()]
    with monkeypatch.context() as full:
        full.setattr(predictor.service.spool, "_max_bytes", 0)
        refused = [predictor.answer() for _ in range(ASKED)]
    assert {(one.status, json.loads(one.body)["error"]["code"]) for one in refused} == {(503, "not_logged")}
    assert f"trainyard_predictions_not_logged_total {ASKED * len(ROWS)}\n" in predictor.metrics()
    promised += [row["prediction_id"] for row in predictor.ask()]
    wire.down = False
    assert sorted(logged_of(yard, predictor, len(promised))) == sorted(promised)


def logged_of(yard: Yard, predictor: Predictor, least: int) -> list[str]:
    """Let ingest take what the predictor sends, end it, and return the ids in the log."""
    log = PostgresPredictionLog(yard.engine)
    stop = threading.Event()
    consumer = Consumer(
        SqsQueue(yard.clients.sqs, yard.config.queue_predictions),
        predictions_handler(log, TakeFeedback(log)),
        ready=lambda: True,
        stop=stop,
        clock=SystemClock(),
        visibility_seconds=60,
    )

    def all_logged() -> bool:
        consumer.step()
        return len(yard.rows("SELECT 1 FROM core.prediction")) >= least

    wait_until(all_logged, "the log", seconds=40)
    predictor.close()
    consumer.step()
    return [str(row["id"]) for row in yard.rows("SELECT id FROM core.prediction")]
