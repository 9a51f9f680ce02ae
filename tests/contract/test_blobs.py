"""The contracts of the blob store, and of the one that takes parts, on the fake and on S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.slim.clients import SlimClients
from trainyard.clock import SystemClock
from trainyard.testing.contracts import BlobStoreContract, PartStoreContract
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.fakes import MemoryBlobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.adapters.slim.s3 import SlimBlobs
    from trainyard.config import Config

pytestmark = pytest.mark.any_aws


class TestMemoryBlobs(BlobStoreContract, PartStoreContract):
    """The fake."""

    @pytest.fixture
    def blobs(self) -> MemoryBlobs:
        """An empty store."""
        return MemoryBlobs()


class TestS3Blobs(BlobStoreContract):
    """The adapter, on the emulator."""

    @pytest.fixture
    def blobs(self, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup) -> S3Blobs:
        """A bucket of this test's own."""
        return S3Blobs(aws_clients.s3, aws_config.bucket)


class TestSlimBlobs(BlobStoreContract, PartStoreContract):
    """The adapter without boto3, on the emulator."""

    @pytest.fixture
    def blobs(self, aws_config: Config, aws_setup: AwsSetup) -> Iterator[SlimBlobs]:
        """A bucket of this test's own."""
        environ = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        clients = SlimClients(
            environ, region=aws_config.aws_region, endpoint=aws_config.aws_endpoint_url, clock=SystemClock()
        )
        yield clients.blobs(aws_config.bucket)
        clients.close()
