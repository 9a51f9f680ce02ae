"""The queue contract on the fake and on SQS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.aws.ensure import dead_letter_name
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.slim.clients import SlimClients
from trainyard.clock import ManualClock, SystemClock
from trainyard.testing.contracts import QueueContract
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.fakes import MemoryQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.adapters.slim.sqs import SlimQueue
    from trainyard.config import Config

pytestmark = pytest.mark.any_aws


class TestMemoryQueue(QueueContract):
    """The fake, on a clock that only moves when it is told to."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Time that passes by ``sleep`` alone."""
        return ManualClock()

    @pytest.fixture
    def dead_letters(self, clock: ManualClock) -> MemoryQueue:
        """Where the queue buries."""
        return MemoryQueue(clock)

    @pytest.fixture
    def queue(self, clock: ManualClock, dead_letters: MemoryQueue) -> MemoryQueue:
        """An empty queue."""
        return MemoryQueue(clock, dead_letters=dead_letters)


class TestSqsQueue(QueueContract):
    """The adapter, on the emulator."""

    @pytest.fixture
    def clock(self) -> SystemClock:
        """The emulator's time is the machine's."""
        return SystemClock()

    @pytest.fixture
    def dead_letters(self, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup) -> SqsQueue:
        """The dead-letter queue that the set-up made."""
        return SqsQueue(aws_clients.sqs, dead_letter_name(aws_config.queue_training))

    @pytest.fixture
    def queue(self, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup) -> SqsQueue:
        """An empty queue of this test's own."""
        return SqsQueue(aws_clients.sqs, aws_config.queue_training)


class TestSlimQueue(QueueContract):
    """The adapter without boto3, on the emulator."""

    @pytest.fixture
    def clock(self) -> SystemClock:
        """The emulator's time is the machine's."""
        return SystemClock()

    @pytest.fixture
    def clients(self, clock: SystemClock, aws_config: Config, aws_setup: AwsSetup) -> Iterator[SlimClients]:
        """Clients of the queues that the set-up made."""
        environ = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        clients = SlimClients(environ, region=aws_config.aws_region, endpoint=aws_config.aws_endpoint_url, clock=clock)
        yield clients
        clients.close()

    @pytest.fixture
    def dead_letters(self, clients: SlimClients, aws_config: Config) -> SlimQueue:
        """The dead-letter queue that the set-up made."""
        return clients.queue(dead_letter_name(aws_config.queue_training))

    @pytest.fixture
    def queue(self, clients: SlimClients, aws_config: Config) -> SlimQueue:
        """An empty queue of this test's own."""
        return clients.queue(aws_config.queue_training)
