"""What the adapters make of AWS's answers that no emulator gives; botocore's stubber plays AWS, without a socket."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.adapters.aws.errors import translated
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.config import load
from trainyard.contracts.blobs import BlobExistsError
from trainyard.contracts.fleet import LaunchSpec, NoCapacityError
from trainyard.contracts.queue import Outgoing
from trainyard.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_URL = "http://127.0.0.1:1/000000000000/q"
_GONE = "AWS.SimpleQueueService.NonExistentQueue"
_SPEC = LaunchSpec(("c7i.large", "m6i.large"), spot=True)


@pytest.fixture(scope="module")
def clients() -> Iterator[AwsClients]:
    """Clients that could not reach anything, even if a socket were allowed."""
    clients = AwsClients(load({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}), access_key="x", secret_key="x")
    yield clients
    clients.close()


@contextmanager
def _playing(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


# --- errors ---


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ClientError({"Error": {"Code": "SlowDown", "Message": "less, please"}}, "PutObject"), TransientError),
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject"), TransientError),
        (EndpointConnectionError(endpoint_url="http://x"), TransientError),
        (ConnectTimeoutError(endpoint_url="http://x"), TransientError),
        (ReadTimeoutError(endpoint_url="http://x"), TransientError),
        (NoCredentialsError(), ConfigError),
        (ParamValidationError(report="wrong"), ValueError),
    ],
)
def test_no_error_of_botocore_gets_out(raised: Exception, expected: type[Exception]) -> None:
    """Whatever botocore raises becomes one of our errors, which says what was attempted and keeps the cause."""
    with pytest.raises(expected, match="store a thing") as caught, translated("store a thing"):
        raise raised
    assert caught.value.__cause__ is raised


# --- SQS ---


def test_queue_that_is_missing_is_made_once(clients: AwsClients) -> None:
    """On 'no such queue' the call is repeated after the repair, with a URL that was looked up again."""
    repairs = []
    with _playing(clients.sqs) as sqs:
        sqs.add_client_error("get_queue_url", _GONE)
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        sqs.add_response("delete_message", {})
        queue = SqsQueue(clients.sqs, "q", on_missing=lambda: repairs.append(1))
        queue.delete("r")
        sqs.add_client_error("delete_message", _GONE)
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        sqs.add_response("delete_message", {})
        queue.delete("r")
    assert repairs == [1, 1]


def test_queue_that_stays_missing_is_a_failure(clients: AwsClients) -> None:
    """One repair, one repetition, then the caller hears of it; without a repair it hears at once."""
    repairs = []
    with _playing(clients.sqs) as sqs:
        for repair in (lambda: repairs.append(1), None):
            for _ in range(2 if repair else 1):
                sqs.add_client_error("get_queue_url", _GONE)
            with pytest.raises(TransientError, match="NonExistentQueue"):
                SqsQueue(clients.sqs, "q", on_missing=repair).depth()
    assert repairs == [1]


def test_refused_entries(clients: AwsClients) -> None:
    """Of an answer of 200 only what stands under Successful was sent; what stands nowhere was not."""
    with _playing(clients.sqs) as sqs:
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        sent = {"Id": "0", "MessageId": "m", "MD5OfMessageBody": "x"}
        failed = {"Id": "2", "Code": "InternalError", "SenderFault": False}
        sqs.add_response("send_message_batch", {"Successful": [sent], "Failed": [failed]})
        assert SqsQueue(clients.sqs, "q").send([Outgoing("T", "x")] * 3) == [1, 2]


def test_silence_after_the_first_batch(clients: AwsClients) -> None:
    """When the second batch fails, the first is not reported as refused, and so not sent again."""
    with _playing(clients.sqs) as sqs:
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        entries = [{"Id": str(i), "MessageId": "m", "MD5OfMessageBody": "x"} for i in range(10)]
        sqs.add_response("send_message_batch", {"Successful": entries, "Failed": []})
        sqs.add_client_error("send_message_batch", "ServiceUnavailable", http_status_code=503)
        assert SqsQueue(clients.sqs, "q").send([Outgoing("T", "x")] * 12) == [10, 11]


def test_silence_from_the_start(clients: AwsClients) -> None:
    """When nothing at all was accepted, that is a failure and not a list."""
    with _playing(clients.sqs) as sqs:
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        sqs.add_client_error("send_message_batch", "ServiceUnavailable", http_status_code=503)
        with pytest.raises(TransientError, match="send to queue q"):
            SqsQueue(clients.sqs, "q").send([Outgoing("T", "x")])


@pytest.mark.parametrize(
    "code", ["ReceiptHandleIsInvalid", "InvalidParameterValue", "AWS.SimpleQueueService.MessageNotInflight"]
)
def test_receipts_that_went_stale(clients: AwsClients, code: str) -> None:
    """Every way in which AWS says that a message is no longer ours."""
    with _playing(clients.sqs) as sqs:
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        sqs.add_client_error("delete_message", code)
        sqs.add_client_error("change_message_visibility", code)
        queue = SqsQueue(clients.sqs, "q")
        queue.delete("stale")
        assert not queue.extend("stale", 60)


def test_failed_extension_is_not_a_lost_message(clients: AwsClients) -> None:
    """When SQS does not answer, nobody knows whose the message is: that must not look like False."""
    with _playing(clients.sqs) as sqs:
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        sqs.add_client_error("change_message_visibility", "InternalError", http_status_code=500)
        with pytest.raises(TransientError):
            SqsQueue(clients.sqs, "q").extend("r", 60)


def test_throttled_call_is_an_outage(clients: AwsClients) -> None:
    """A throttled call says so: nothing was received, and the message is nobody's loss."""
    with _playing(clients.sqs) as sqs:
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        sqs.add_client_error("receive_message", "RequestThrottled", http_status_code=400)
        queue = SqsQueue(clients.sqs, "q")
        with pytest.raises(TransientError, match="receive from queue q: RequestThrottled"):
            queue.receive(limit=1, wait_seconds=0, visibility_seconds=1)
        sqs.add_response("receive_message", {})
        assert queue.receive(limit=1, wait_seconds=0, visibility_seconds=1) == []


def test_delay_and_type_are_sent_only_when_given(clients: AwsClients) -> None:
    """Without a delay the queue's own counts, and a message without a type carries no attribute."""
    asked = {
        "QueueUrl": _URL,
        "Entries": [
            {"Id": "0", "MessageBody": "x", "DelaySeconds": 900},
            {
                "Id": "1",
                "MessageBody": "y",
                "MessageAttributes": {"type": {"DataType": "String", "StringValue": "T"}},
            },
        ],
    }
    sent = [{"Id": str(i), "MessageId": "m", "MD5OfMessageBody": "x"} for i in range(2)]
    with _playing(clients.sqs) as sqs:
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        sqs.add_response("send_message_batch", {"Successful": sent, "Failed": []}, asked)
        messages = [Outgoing("", "x", delay_seconds=900), Outgoing("T", "y")]
        assert SqsQueue(clients.sqs, "q").send(messages) == []


def test_dead_letters_are_moved_by_the_service_where_it_does_that(clients: AwsClients) -> None:
    """A started task is True; a refusal, for whatever reason, is False and leaves the work to the caller."""
    arn = "arn:aws:sqs:us-east-1:000000000000:q"
    with _playing(clients.sqs) as sqs:
        sqs.add_response("get_queue_url", {"QueueUrl": _URL})
        queue = SqsQueue(clients.sqs, "q")
        sqs.add_response("get_queue_attributes", {"Attributes": {"QueueArn": arn}})
        sqs.add_response("start_message_move_task", {"TaskHandle": "t"}, {"SourceArn": arn})
        assert queue.move_back()
        for code in ("InvalidAction", "AccessDenied", "AWS.SimpleQueueService.UnsupportedOperation"):
            sqs.add_response("get_queue_attributes", {"Attributes": {"QueueArn": arn}})
            sqs.add_client_error("start_message_move_task", code)
            assert not queue.move_back()


# --- S3 ---


def test_conflicting_write_is_repeated(clients: AwsClients) -> None:
    """409 means that another write of the key is under way: the next attempt is told what became of it."""
    with _playing(clients.s3) as s3:
        s3.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        s3.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
        with pytest.raises(BlobExistsError):
            S3Blobs(clients.s3, "b").put("k", b"x", only_if_absent=True)
        for _ in range(3):
            s3.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        with pytest.raises(TransientError, match="ConditionalRequestConflict"):
            S3Blobs(clients.s3, "b").put("k", b"x", only_if_absent=True)


def test_bucket_that_is_missing_is_made_once(clients: AwsClients) -> None:
    """Reading, writing and listing all repair a missing bucket and go on."""
    repairs = []
    blobs = S3Blobs(clients.s3, "b", on_missing=lambda: repairs.append(1))
    with _playing(clients.s3) as s3:
        s3.add_client_error("put_object", "NoSuchBucket", http_status_code=404)
        s3.add_response("put_object", {"ETag": '"e"'})
        assert blobs.put("k", b"x") == "e"
        s3.add_client_error("list_objects_v2", "NoSuchBucket", http_status_code=404)
        s3.add_response("list_objects_v2", {"IsTruncated": False})
        assert list(blobs.list("")) == []
    assert repairs == [1, 1]


class _BreakingSource(io.RawIOBase):
    """A body that breaks off after its first bytes."""

    def __init__(self) -> None:
        self._reads = 0

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads > 1 or size is None or size < 0:
            raise ReadTimeoutError(endpoint_url="http://x")
        return b"first"


def _stream_of(blobs: S3Blobs) -> bytes:
    with blobs.open("k") as stream:
        return stream.read()


@pytest.mark.parametrize("make", [_BreakingSource, lambda: io.BytesIO(b"first")])
@pytest.mark.parametrize("read", [lambda blobs: blobs.get("k"), _stream_of])
def test_body_that_breaks_off(
    clients: AwsClients, read: Callable[[S3Blobs], object], make: Callable[[], io.IOBase]
) -> None:
    """An object is never shorter than it is: a connection that breaks, or just ends too early, is a failure."""
    with _playing(clients.s3) as s3:
        body = StreamingBody(make(), 1_000_000)
        s3.add_response("get_object", {"Body": body, "ETag": '"e"', "ContentLength": 1_000_000})
        with pytest.raises(TransientError):
            read(S3Blobs(clients.s3, "b"))


# --- EC2 ---


def _no_instances(ec2: Stubber) -> None:
    ec2.add_response("describe_instances", {"Reservations": []})


def _refusal(code: str) -> dict[str, Any]:
    return {"FleetId": "f", "Errors": [{"ErrorCode": code, "ErrorMessage": f"words of {code}", "Lifecycle": "spot"}]}


def _launched(instance_type: str) -> dict[str, Any]:
    return {"FleetId": "f", "Instances": [{"InstanceIds": ["i-1"], "InstanceType": instance_type}]}


@contextmanager
def _fleet_requests(client: Any) -> Iterator[list[dict[str, Any]]]:
    """Collect the parameters of every CreateFleet."""
    requests: list[dict[str, Any]] = []

    def collect(params: dict[str, Any], **_: Any) -> None:
        requests.append(dict(params))

    event = "provide-client-params.ec2.CreateFleet"
    client.meta.events.register(event, collect)
    try:
        yield requests
    finally:
        client.meta.events.unregister(event, collect)


def test_on_demand_after_spot_was_refused(clients: AwsClients) -> None:
    """Spot is asked for every type first, then on-demand for every type, each with our tags and a token."""
    with _playing(clients.ec2) as ec2, _fleet_requests(clients.ec2) as requests:
        _no_instances(ec2)
        ec2.add_response("create_fleet", _refusal("InsufficientInstanceCapacity"))
        ec2.add_response("create_fleet", _launched("m6i.large"))
        launched = Ec2Fleet(clients.ec2, "dev").launch("launch-1", _SPEC)
    assert (launched.instance_id, launched.launch_id, launched.instance_type) == ("i-1", "launch-1", "m6i.large")
    markets = [request["TargetCapacitySpecification"]["DefaultTargetCapacityType"] for request in requests]
    assert markets == ["spot", "on-demand"]
    for request in requests:
        overrides = request["LaunchTemplateConfigs"][0]["Overrides"]
        assert [o["InstanceType"] for o in overrides] == ["c7i.large", "m6i.large"]
        tags = {tag["Key"]: tag["Value"] for tag in request["TagSpecifications"][0]["Tags"]}
        assert tags == {
            "trainyard:launch": "launch-1",
            "trainyard:env": "dev",
            "trainyard:project": "trainyard",
            "Name": "trainyard-dev-trainer",
        }
        assert 0 < len(request["ClientToken"]) <= 64


def test_no_capacity_keeps_the_words(clients: AwsClients) -> None:
    """When neither can be had, the error says why in EC2's words; an answer without any reason is told as such."""
    with _playing(clients.ec2) as ec2:
        _no_instances(ec2)
        ec2.add_response("create_fleet", _refusal("MaxSpotInstanceCountExceeded"))
        ec2.add_response("create_fleet", {"FleetId": "f"})
        with pytest.raises(NoCapacityError, match=r"spot: Max.*words of Max.*; on-demand: .*no reason"):
            Ec2Fleet(clients.ec2, "dev").launch("launch-1", _SPEC)


def test_token_changes_only_after_a_refusal(clients: AwsClients) -> None:
    """A repeat after a lost answer carries the same token; after a refusal another, which AWS does not remember."""
    fleet = Ec2Fleet(clients.ec2, "dev")
    spec = LaunchSpec(("c7i.large",), spot=False)
    with _playing(clients.ec2) as ec2, _fleet_requests(clients.ec2) as requests:
        for _ in range(2):
            _no_instances(ec2)
            ec2.add_client_error("create_fleet", "InternalError", http_status_code=500)
            with pytest.raises(TransientError):
                fleet.launch("launch-1", spec)
        _no_instances(ec2)
        ec2.add_response("create_fleet", _refusal("UnfulfillableCapacity"))
        with pytest.raises(NoCapacityError):
            fleet.launch("launch-1", spec)
        _no_instances(ec2)
        ec2.add_response("create_fleet", _launched("c7i.large"))
        fleet.launch("launch-1", spec)
    tokens = [request["ClientToken"] for request in requests]
    assert tokens[0] == tokens[1] == tokens[2] != tokens[3]


@pytest.mark.parametrize("inside", [True, False])
def test_template_that_is_missing_is_made_once(clients: AwsClients, inside: bool) -> None:
    """AWS may say so as an error of the call or inside an answer of 200; both are repaired."""
    repairs = []
    code = "InvalidLaunchTemplateName.NotFoundException"
    with _playing(clients.ec2) as ec2:
        _no_instances(ec2)
        if inside:
            ec2.add_response("create_fleet", _refusal(code))
        else:
            ec2.add_client_error("create_fleet", code)
        ec2.add_response("create_fleet", _launched("c7i.large"))
        Ec2Fleet(clients.ec2, "dev", on_missing=lambda: repairs.append(1)).launch("launch-1", _SPEC)
    assert repairs == [1]


def test_one_unknown_instance_does_not_save_the_others(clients: AwsClients) -> None:
    """EC2 refuses a whole Terminate for one unknown id; the known ones are ended all the same."""
    with _playing(clients.ec2) as ec2:
        ec2.add_client_error("terminate_instances", "InvalidInstanceID.NotFound")
        ec2.add_response("terminate_instances", {}, {"InstanceIds": ["i-1"]})
        ec2.add_client_error("terminate_instances", "InvalidInstanceID.NotFound")
        Ec2Fleet(clients.ec2, "dev").terminate(["i-1", "i-2"])


def test_only_tagged_instances_are_listed(clients: AwsClients) -> None:
    """The list is asked for by tag: other machines of the account are never seen, and so never ended."""
    expected = {
        "Filters": [
            {"Name": "tag:trainyard:env", "Values": ["dev"]},
            {"Name": "tag-key", "Values": ["trainyard:launch"]},
        ],
        "MaxResults": ANY,
    }
    with _playing(clients.ec2) as ec2:
        ec2.add_response("describe_instances", {"Reservations": []}, expected)
        assert Ec2Fleet(clients.ec2, "dev").instances() == []
