"""The set-up: complete, repeatable, polite to what others made, and back after the emulator lost everything."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ec2 import Ec2Fleet, launch_template_name
from trainyard.adapters.aws.ensure import AwsSetup, dead_letter_name, queue_names
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.config import load
from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.queue import Outgoing
from trainyard.errors import TransientError
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.pytest_plugin import isolated_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard.config import Config
    from trainyard.testing.emulator import Emulator

pytestmark = pytest.mark.any_aws


def _attributes(clients: AwsClients, name: str) -> dict[str, str]:
    url = clients.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes: dict[str, str] = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return attributes


def _notifications(clients: AwsClients, config: Config) -> list[dict[str, Any]]:
    answer = clients.s3.get_bucket_notification_configuration(Bucket=config.bucket)
    found: list[dict[str, Any]] = answer.get("QueueConfigurations", [])
    return found


def _assert_complete(clients: AwsClients, config: Config, aws: Emulator) -> None:
    clients.s3.head_bucket(Bucket=config.bucket)
    for name in queue_names(config):
        attributes = _attributes(clients, name)
        dead_letters = _attributes(clients, dead_letter_name(name))
        assert attributes["VisibilityTimeout"] == ("180" if name == config.queue_batch else "60")
        assert attributes["MessageRetentionPeriod"] == str(4 * 86_400)
        assert dead_letters["MessageRetentionPeriod"] == str(14 * 86_400)
        redrive = json.loads(attributes["RedrivePolicy"])
        assert redrive["deadLetterTargetArn"] == dead_letters["QueueArn"]
        assert int(redrive["maxReceiveCount"]) == 5
        allowed = {"redrivePermission": "byQueue", "sourceQueueArns": [attributes["QueueArn"]]}
        kept = allowed if aws.keeps_redrive_allow else {}
        assert json.loads(dead_letters.get("RedriveAllowPolicy", "{}")) == kept
    for ident, queue in (("trainyard-landing", config.queue_objects), ("trainyard-batch", config.queue_batch)):
        (notification,) = [n for n in _notifications(clients, config) if n["Id"] == ident]
        assert notification["QueueArn"] == _attributes(clients, queue)["QueueArn"]
    name = launch_template_name(config.env)
    (template,) = clients.ec2.describe_launch_templates(LaunchTemplateNames=[name])["LaunchTemplates"]
    assert template["LatestVersionNumber"] == 1


def test_everything_is_made(aws: Emulator, aws_setup: AwsSetup, aws_clients: AwsClients, aws_config: Config) -> None:
    """Bucket, queues with their dead letters, notification and template are there, and stay as they are."""
    _assert_complete(aws_clients, aws_config, aws)
    before = [_attributes(aws_clients, name) for name in queue_names(aws_config)]
    aws_setup.ensure()
    _assert_complete(aws_clients, aws_config, aws)
    assert [_attributes(aws_clients, name) for name in queue_names(aws_config)] == before


def test_eight_at_once(aws: Emulator, aws_clients: AwsClients, aws_config: Config) -> None:
    """Several processes that start together do not disturb each other."""
    setups = [AwsSetup(aws_clients, aws_config) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(AwsSetup.ensure, setups))
    _assert_complete(aws_clients, aws_config, aws)


def test_what_drifted_is_brought_back(
    aws: Emulator, aws_setup: AwsSetup, aws_clients: AwsClients, aws_config: Config
) -> None:
    """A queue whose dead letters were unhooked gets them back, and dead letters that all may fill are closed again."""
    name = aws_config.queue_training
    url = aws_clients.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    aws_clients.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": "", "VisibilityTimeout": "7"})
    dead = aws_clients.sqs.get_queue_url(QueueName=dead_letter_name(name))["QueueUrl"]
    theirs = {"MessageRetentionPeriod": "60", "RedriveAllowPolicy": json.dumps({"redrivePermission": "allowAll"})}
    aws_clients.sqs.set_queue_attributes(QueueUrl=dead, Attributes=theirs)
    aws_setup.ensure()
    _assert_complete(aws_clients, aws_config, aws)


def test_what_others_made_stays(aws_setup: AwsSetup, aws_clients: AwsClients, aws_config: Config) -> None:
    """A notification and a policy statement that are not ours survive, and so do attributes that we do not set."""
    theirs = _attributes(aws_clients, aws_config.queue_arrived)["QueueArn"]
    notification = {"Id": "theirs", "QueueArn": theirs, "Events": ["s3:ObjectRemoved:*"]}
    aws_clients.s3.put_bucket_notification_configuration(
        Bucket=aws_config.bucket,
        NotificationConfiguration={"QueueConfigurations": [notification], "EventBridgeConfiguration": {}},
    )
    # moto takes the switch for EventBridge and forgets it, so what counts is that the set-up leaves it as it found it.
    found = aws_clients.s3.get_bucket_notification_configuration(Bucket=aws_config.bucket)
    url = aws_clients.sqs.get_queue_url(QueueName=aws_config.queue_objects)["QueueUrl"]
    arn = _attributes(aws_clients, aws_config.queue_objects)["QueueArn"]
    statement = {"Sid": "theirs", "Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Id": "kept", "Statement": [statement]})
    aws_clients.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy, "DelaySeconds": "3"})

    aws_setup.ensure()

    told = sorted(n["Id"] for n in _notifications(aws_clients, aws_config))
    assert told == ["theirs", "trainyard-batch", "trainyard-landing"]
    whole = aws_clients.s3.get_bucket_notification_configuration(Bucket=aws_config.bucket)
    assert whole.get("EventBridgeConfiguration") == found.get("EventBridgeConfiguration")
    attributes = _attributes(aws_clients, aws_config.queue_objects)
    merged = json.loads(attributes["Policy"])
    assert attributes["DelaySeconds"] == "3"
    assert merged["Id"] == "kept"
    assert [s["Sid"] for s in merged["Statement"]] == ["theirs", "trainyard-s3-notifications"]


def test_template_of_the_deploy_command_is_left_alone(aws: Emulator, aws_clients: AwsClients) -> None:
    """A launch template that exists, with whatever image, is never touched."""
    own = load({**isolated_environment(aws), "TRAINYARD_ENV": "deployed"})
    data = {"ImageId": "ami-0123456789abcdef0"}
    aws_clients.ec2.create_launch_template(LaunchTemplateName="trainyard-deployed-trainer", LaunchTemplateData=data)
    AwsSetup(aws_clients, own).ensure()
    answer = aws_clients.ec2.describe_launch_template_versions(LaunchTemplateName="trainyard-deployed-trainer")
    (version,) = answer["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"]["ImageId"] == "ami-0123456789abcdef0"


@pytest.fixture
def own_emulator(aws_name: str, new_emulator: Callable[[str], Emulator]) -> Iterator[Emulator]:
    """An emulator that the test may kill."""
    emulator = new_emulator(aws_name)
    emulator.start()
    yield emulator
    emulator.stop()


def test_adapters_survive_the_emulators_death(own_emulator: Emulator) -> None:
    """After a kill each adapter finds its queue, bucket or template missing, has it made, and carries on by itself.

    Objects come back only where the emulator writes them to disk; elsewhere the bucket is made anew.
    """
    config = load(isolated_environment(own_emulator))
    clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    setup = AwsSetup(clients, config)
    queue = SqsQueue(clients.sqs, config.queue_training, on_missing=setup.ensure)
    blobs = S3Blobs(clients.s3, config.bucket, on_missing=setup.ensure)
    fleet = Ec2Fleet(clients.ec2, config.env, on_missing=setup.ensure)
    try:
        blobs.put("models/m", b"kept")
        kept = ["models/m"] if own_emulator.keeps_objects else []
        for work in (
            lambda: queue.send([Outgoing("T", "x")]),
            lambda: fleet.launch("l", LaunchSpec(("a1.large",), True)),
        ):
            own_emulator.kill()
            with pytest.raises(TransientError):
                work()
            own_emulator.start()
            work()
            _assert_complete(clients, config, own_emulator)
            assert [info.key for info in blobs.list("models/")] == kept
    finally:
        clients.close()
