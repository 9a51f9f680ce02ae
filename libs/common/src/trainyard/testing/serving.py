"""A predictor as `serve` starts it, on an emulator of S3 and SQS, with one model: for the tests of foreign clients."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.config import load
from trainyard.testing.processes import answers, end, free_port, wait_until
from trainyard.testing.publishing import point_alias, publish_key, publish_version
from trainyard.testing.pytest_plugin import isolated_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.model import Model
    from trainyard.testing.emulator import Emulator


@dataclass(frozen=True)
class Server:
    """Where a running predictor is (``host:port``), and an API key for it."""

    address: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """What a client has to send; a dictionary of the caller's own."""
        return {"Authorization": f"Bearer {self.key}"}


@contextmanager
def serving(model: Model, aws: Emulator, clients: AwsClients, spool: Path) -> Iterator[Server]:
    """Run a predictor in which version 1 of ``model`` is the champion and the only version of the only model.

    Raises:
        AssertionError: it did not end in good order.
    """
    environment = isolated_environment(aws)
    config = load(environment)
    AwsSetup(clients, config).ensure()
    blobs = S3Blobs(clients.s3, config.bucket)
    point_alias(blobs, publish_version(blobs, model, 1), seq=1)
    key = publish_key(blobs, "predict")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "trainyard_predictor.serve"],
        env={
            **os.environ,
            **environment,
            "TRAINYARD_SPOOL_DIR": str(spool),
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "TRAINYARD_SAGEMAKER": "0",  # MLflow's clients ask it too
        },
        start_new_session=True,
    )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/ping"), "the predictor", seconds=60)
        yield Server(f"127.0.0.1:{port}", key)
    finally:
        end(process, seconds=30)
    assert process.returncode == 0
