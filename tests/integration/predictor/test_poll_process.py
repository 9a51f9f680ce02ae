"""The stand-in for Lambda as a process of its own: a message asks, the prediction log answers."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.contracts.queue import Outgoing
from trainyard.messages import PredictionLogged, decode
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.processes import wait_until
from trainyard.testing.publishing import point_alias, publish_version

if TYPE_CHECKING:
    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config
    from trainyard.testing.emulator import Emulator


def test_messages_are_answered_into_the_log_until_sigterm(
    aws: Emulator, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup
) -> None:
    """A good message is settled, one that nobody can answer stays; the process ends with 0 when it is told to."""
    model = sample_model()
    blobs = S3Blobs(aws_clients.s3, aws_config.bucket)
    point_alias(blobs, publish_version(blobs, model, 1), seq=1)
    assert model.golden is not None
    asked = SqsQueue(aws_clients.sqs, aws_config.queue_arrived)  # any queue will do
    good = {"path": "/v1/predict/flights", "body": {"rows": [dict(model.golden.rows[0])]}}
    asked.send([Outgoing("", json.dumps(good)), Outgoing("", "nobody can read this")])
    environ = {
        **os.environ,
        **aws.environment,
        "TRAINYARD_BUCKET": aws_config.bucket,
        "TRAINYARD_QUEUE_PREDICTIONS": aws_config.queue_predictions,
        "TRAINYARD_QUEUE_BATCH": aws_config.queue_batch,
        "TRAINYARD_POLL_QUEUES": aws_config.queue_arrived,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "trainyard_predictor.poll"], env=environ, stderr=subprocess.DEVNULL
    )
    try:
        log = SqsQueue(aws_clients.sqs, aws_config.queue_predictions)
        wait_until(lambda: log.depth().total > 0 and asked.depth().total == 1, "the message to be answered")
        (message,) = log.receive(limit=10, wait_seconds=0, visibility_seconds=10)
        logged = decode(message.type, message.body)
        assert isinstance(logged, PredictionLogged)
        assert [record["key_id"] for record in logged.records] == ["sqs"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_a_dropped_file_is_scored(
    aws: Emulator, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup
) -> None:
    """From the notification of S3 to the output, on a queue that nobody has to name; a stop ends the process."""
    blobs = S3Blobs(aws_clients.s3, aws_config.bucket)
    point_alias(blobs, publish_version(blobs, sample_model(), 1), seq=1)
    rows = sample_rows(6_000)
    filler = "x" * 1_000  # so that the output takes two parts
    lines = [json.dumps({"number": number, "filler": filler, **row}) for number, row in enumerate(rows)]
    blobs.put("batch/in/flights/day.ndjson.gz", gzip.compress("\n".join(lines).encode()))
    environ = {
        **os.environ,
        **aws.environment,
        "TRAINYARD_BUCKET": aws_config.bucket,
        "TRAINYARD_QUEUE_PREDICTIONS": aws_config.queue_predictions,
        "TRAINYARD_QUEUE_BATCH": aws_config.queue_batch,
        "TRAINYARD_POLL_QUEUES": "",
    }
    command = [sys.executable, "-m", "trainyard_predictor.poll"]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(i.key.endswith("summary.json") for i in blobs.list("batch/out/flights/")), "the output")
        (output,) = [info.key for info in blobs.list("batch/out/flights/") if info.key.endswith("day.ndjson")]
        got = [json.loads(line) for line in blobs.open(output)]
        assert [one["input"]["number"] for one in got] == list(range(6_000))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
