"""A file dropped into landing/ by somebody who knows nothing of us: an outside client, S3's event, our queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlsplit

import pytest
from localstack_client.session import Session

from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config


@pytest.fixture
def outside_s3(aws_emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """LocalStack's own client, which is told where the emulator is in its own way."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_emulator)
    client = Session(localstack_host=urlsplit(aws_emulator).hostname).client("s3")
    yield client
    client.close()


def test_dropped_file_is_announced(
    outside_s3: Any, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup
) -> None:
    """The queue gets S3's test event, and one event with bucket, key and etag; files elsewhere are not announced."""
    outside_s3.put_object(Bucket=aws_config.bucket, Key="elsewhere/a.csv", Body=b"no")
    put = outside_s3.put_object(Bucket=aws_config.bucket, Key="landing/late flights/é.csv", Body=b"a,b\n1,2\n")
    queue = SqsQueue(aws_clients.sqs, aws_config.queue_objects)
    events: list[dict[str, Any]] = []

    def announced() -> bool:
        for message in queue.receive(limit=10, wait_seconds=1, visibility_seconds=30):
            assert message.type == ""
            events.append(json.loads(message.body))
            queue.delete(message.receipt)
        return any("Records" in event for event in events)

    wait_until(announced, "the notification")
    tests, real = [e for e in events if "Event" in e], [e for e in events if "Records" in e]
    assert [event["Event"] for event in tests] == ["s3:TestEvent"]
    ((record,),) = [event["Records"] for event in real]
    assert record["eventName"].startswith("ObjectCreated:")
    assert record["s3"]["bucket"]["name"] == aws_config.bucket
    assert unquote_plus(record["s3"]["object"]["key"]) == "landing/late flights/é.csv"
    assert record["s3"]["object"]["eTag"] == put["ETag"].strip('"')
