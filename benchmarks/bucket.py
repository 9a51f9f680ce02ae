"""The embedded stack's emulator with our bucket and queues, for benchmarks that serve predictions."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.config import load
from trainyard.testing.emulator import AwsEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def bucket(folder: Path) -> Iterator[tuple[S3Blobs, dict[str, str]]]:
    """Run the emulator with its files in ``folder``; give the bucket, and the environment of services that use it."""
    emulator = AwsEmulator(folder / "aws")
    emulator.start()
    try:
        environment = {**os.environ, **emulator.environment, "TRAINYARD_SPOOL_DIR": str(folder / "spool")}
        config = load(environment)
        access = {"access_key": environment["AWS_ACCESS_KEY_ID"], "secret_key": environment["AWS_SECRET_ACCESS_KEY"]}
        clients = AwsClients(config, **access)
        AwsSetup(clients, config).ensure()
        yield S3Blobs(clients.s3, config.bucket), environment
        clients.close()
    finally:
        emulator.stop()
