"""What a function has imported when its first row is answered: each of these was on the road once, or could be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.testing.models import sample_model
from trainyard.testing.publishing import point_alias, publish_version

if TYPE_CHECKING:
    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config
    from trainyard.testing.emulator import Emulator

#: Modules that take milliseconds, and that no row of a linear model or of trees needs.
TOO_DEAR = {
    "asyncio",
    "boto3",
    "dataclasses",
    "email",
    "encodings.idna",
    "http.client",
    "importlib.metadata",
    "inspect",
    "numpy",
    "pathlib",
    "shutil",
    "ssl",
    "urllib.parse",
    "xml",
}
FIRST_ROW = """
import json, sys
from trainyard_predictor.aws_lambda import handle
answer = handle(json.loads(sys.argv[1]), None)
print(json.dumps({"answer": answer, "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize("kind", ["linear", "tree_ensemble"])
def test_the_first_row_imports_nothing_that_it_does_not_need(
    kind: str, aws: Emulator, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup
) -> None:
    """A fresh interpreter, alias and artifact from S3, the record in the queue before the answer."""
    model = sample_model(kind)
    blobs = S3Blobs(aws_clients.s3, aws_config.bucket)
    point_alias(blobs, publish_version(blobs, model, 1), seq=1)
    assert model.golden is not None
    event = {"path": f"/v1/predict/{model.name}", "body": {"rows": [dict(model.golden.rows[0])]}}
    environ = {
        **os.environ,
        **aws.environment,
        "TRAINYARD_BUCKET": aws_config.bucket,
        "TRAINYARD_QUEUE_PREDICTIONS": aws_config.queue_predictions,
    }
    # without the site's own imports: an editable installation is found by modules that a real one does not need
    command = [sys.executable, "-S", "-c", FIRST_ROW, json.dumps(event)]
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    said = json.loads(done.stdout)
    assert said["answer"]["statusCode"] == 200, said["answer"]
    assert set(said["modules"]) & TOO_DEAR == set()
    assert SqsQueue(aws_clients.sqs, aws_config.queue_predictions).depth().total == 1
