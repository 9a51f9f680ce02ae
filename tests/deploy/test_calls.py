"""What the deploy command asks of AWS, against what the role of CI may: each call that it makes, as it makes it.

The calls are made on an emulator and written down, with the resource that IAM would be asked about. Which calls the
sources hold is read out of them, so that a new one that is not made here fails.
"""

from __future__ import annotations

import ast
import importlib.resources
import io
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from policy_answers import answer
from whole_emulator import QuickClock

from trainyard.adapters.aws.ec2 import ENV_TAG, LAUNCH_TAG
from trainyard.errors import TrainyardError
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard_deploy import commands, docker, tunnel
from trainyard_deploy.aws import AwsCloud
from trainyard_deploy.choices import Choices
from trainyard_deploy.engine import Record, Records
from trainyard_deploy.lease import Lease
from trainyard_deploy.stacks import Place, key_parameter, stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whole_emulator import WholeEmulator

#: As the templates of these tests have it (conftest.py).
ENV, ACCOUNT, REGION = "test", "111122223333", "eu-west-1"
PLACE = Place(ENV, ACCOUNT, REGION)
SERVICES = ("cloudformation", "ec2", "ecr", "lambda", "s3", "ssm", "sts")
#: Operations whose right has another name.
RIGHTS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "sts:GetCallerIdentity": None,  # everybody may ask who they are
}
#: What only containers could answer, which the emulator is without here.
CONTAINERS: dict[str, Callable[[], dict[str, Any]]] = {
    "ssm.SendCommand": lambda: {"Command": {"CommandId": "0" * 36}},
    "ssm.ListCommandInvocations": lambda: {"CommandInvocations": [{"Status": "Success"}]},
    "lambda.PublishVersion": lambda: {"Version": "1"},
    "lambda.GetFunctionConfiguration": lambda: {"State": "Active"},
    "lambda.Invoke": lambda: {"Payload": io.BytesIO(b"{}")},
}
Call = tuple[str, str, dict[str, Any]]


def _resources(service: str, operation: str, given: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:  # noqa: PLR0911 - a table
    """Return the resources that IAM is asked about, with what they and the request say."""
    own = {"aws:ResourceTag/trainyard:env": ENV}
    here = f"{REGION}:{ACCOUNT}"
    match service, operation:
        case "cloudformation", "DescribeStacks":
            return [("*", {})]
        case "cloudformation", _:
            name = given["StackName"].rsplit("stack/", 1)[-1].partition("/")[0]
            return [(f"arn:aws:cloudformation:{here}:stack/{name}/1", {})]
        case "s3", "ListObjectsV2":
            return [(f"arn:aws:s3:::{given['Bucket']}", {"s3:prefix": given["Prefix"]})]
        case "s3", _:
            key = f"/{given['Key']}" if "Key" in given else ""
            return [(f"arn:aws:s3:::{given['Bucket']}{key}", {})]
        case "ssm", "GetParameter" | "PutParameter":
            return [(f"arn:aws:ssm:{here}:parameter{given['Name']}", {})]
        case "ec2", "TerminateInstances":
            trainer = own | {"aws:ResourceTag/trainyard:launch": "1"}
            return [(f"arn:aws:ec2:{here}:instance/{one}", trainer) for one in given["InstanceIds"]]
        case "ssm", "DeleteParameters":
            return [(f"arn:aws:ssm:{here}:parameter{name}", {}) for name in given["Names"]]
        case "ssm", "SendCommand":
            instances = [(f"arn:aws:ec2:{here}:instance/{one}", own) for one in given["InstanceIds"]]
            return [(f"arn:aws:ssm:{here}:document/{given['DocumentName']}", {}), *instances]
        case "ssm", "StartSession":
            checked = {"ssm:SessionDocumentAccessCheck": "true"}
            return [
                (f"arn:aws:ssm:{REGION}::document/{given['DocumentName']}", checked),
                (f"arn:aws:ec2:{here}:instance/{given['Target']}", own | checked),
            ]
        case "lambda", _:
            end = f":{given['Qualifier']}" if "Qualifier" in given else ""
            return [(f"arn:aws:lambda:{here}:function:{given['FunctionName']}{end}", {})]
    return [("*", {})]


@pytest.fixture(scope="module")
def calls(emulator: WholeEmulator) -> list[Call]:
    """Every call that a deployment makes, from the lease to the smoke test, whatever the emulator says to it."""
    made: list[Call] = []
    patched = pytest.MonkeyPatch()

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        made.append((str(model.service_model.service_name), str(model.name), dict(params)))

    def client(service: str, **_: Any) -> Any:
        one = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION).client(
            service, endpoint_url=emulator.endpoint
        )
        one.meta.events.register("before-parameter-build.*.*", note)
        for call, said in CONTAINERS.items():
            one.meta.events.register(
                f"before-call.{call}", lambda said=said, **_: (SimpleNamespace(status_code=200), said())
            )
        return one

    patched.setattr(boto3, "client", client)
    target = commands.Target(ENV, Choices(), Path(), region=REGION, endpoint=emulator.endpoint)
    assert target.place.region == REGION
    target.__dict__["place"] = PLACE  # the emulator's account has another number
    _record(target)
    _stacks(AwsCloud(client, PLACE, QuickClock(), build_role=f"arn:aws:iam::{ACCOUNT}:role/trainyard-test-build"))
    _images(client, patched)
    _smoke(target, patched, made)
    patched.undo()
    return made


def _record(target: commands.Target) -> None:
    """The lease and the record, on the bucket that the first deployment makes."""
    with Lease(target.blobs, ENV, "somebody", QuickClock()):
        records = Records(target.blobs, ENV)
        records.load()
        records.save(Record("inputs"))
        records.forget()


def _stacks(cloud: AwsCloud) -> None:
    """Stacks, the release, the control instance, functions."""
    queues = stacks(PLACE, Choices())["queues"]
    parameters = {"Env": ENV, "Bucket": PLACE.bucket}
    cloud.changes("queues", queues.text, parameters)
    cloud.put_stack("queues", queues.text, parameters)
    cloud.put_stack("queues", queues.text, parameters)
    with suppress(TrainyardError):
        cloud.put_stack("broken", "Resources: {Nothing: {Type: 'AWS::Nothing::AtAll'}}", {})
    cloud._reason("queues")
    cloud.parts()
    cloud.release()
    cloud.put_release("release")
    cloud._instance = lambda: "i-1"  # type: ignore[method-assign]
    cloud.control_answers()
    cloud.command("migrate")
    cloud.live(PLACE.function)
    cloud.invoke(PLACE.function, cloud.publish(PLACE.function), {})
    cloud.delete_stack("queues")
    _trainers(cloud)
    cloud.forget()


def _trainers(cloud: AwsCloud) -> None:
    """An instance that the scheduler has launched, and its end."""
    tags = [{"Key": ENV_TAG, "Value": ENV}, {"Key": LAUNCH_TAG, "Value": "1"}]
    specification = [{"ResourceType": "instance", "Tags": tags}]
    client = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION).client(
        "ec2", endpoint_url=cloud._client("ec2").meta.endpoint_url
    )
    client.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, TagSpecifications=specification)
    cloud.end_trainers()


def _images(client: Any, patched: pytest.MonkeyPatch) -> None:
    images = docker.DockerImages(Path(), "revision", client)
    patched.setattr(images, "_docker", lambda *_, **__: "")
    images._log_in(PLACE.registry)


def _smoke(target: commands.Target, patched: pytest.MonkeyPatch, made: list[Call]) -> None:
    """The first key, and the way to the services: the AWS CLI's call is read from its command line."""
    client = target.client("ssm")
    client.put_parameter(Name=key_parameter(ENV), Value="ty_key", Type="SecureString")
    made.pop()  # the control instance does that
    patched.setattr(tunnel.shutil, "which", lambda name: f"/bin/{name}")
    patched.setattr(commands.Target, "instance", "i-1")

    @contextmanager
    def opened(instance: str, region: str, port: int, _clock: Any) -> Iterator[str]:
        program = tunnel.command(instance, region, port)
        assert program[:3] == ["aws", "ssm", "start-session"]
        options = dict(zip(program[3::2], program[4::2], strict=True))
        given = {"Target": options["--target"], "DocumentName": options["--document-name"]}
        made.append(("ssm", "StartSession", given))
        yield "http://127.0.0.1:1"

    patched.setattr(tunnel, "opened", opened)
    with target.connect():
        pass


def test_the_role_of_ci_may_make_every_call(calls: list[Call], statements: Any) -> None:
    """No call is refused, as far as a policy decides it: actions, resources, tags and conditions."""
    allowed = statements("deploy")
    refused = set()
    for service, operation, given in calls:
        right = RIGHTS.get(f"{service}:{operation}", f"{service}:{operation}")
        if right is None:
            continue
        for resource, context in _resources(service, operation, given):
            if answer(allowed, right, resource, {"aws:SecureTransport": "true"} | context) != "allow":
                refused.add((right, resource))
    assert refused == set()


def test_the_role_hands_over_to_cloudformation(calls: list[Call], statements: Any) -> None:
    """With --build-role each change set names the role, which takes a right of its own."""
    roles = {given["RoleARN"] for _, operation, given in calls if operation == "CreateChangeSet"}
    assert len(roles) == 1
    context = {"aws:SecureTransport": "true", "iam:PassedToService": "cloudformation.amazonaws.com"}
    assert answer(statements("deploy"), "iam:PassRole", roles.pop(), context) == "allow"


def test_the_role_may_nothing_that_nobody_asks(calls: list[Call], statements: Any) -> None:
    """A right that no call needs is one too many; docker's and the AWS CLI's own are named."""
    asked = {RIGHTS.get(f"{service}:{operation}", f"{service}:{operation}") for service, operation, _ in calls}
    others = {"iam:PassRole", "ssmmessages:OpenDataChannel"}
    given = {action for one in statements("deploy") if one["Effect"] == "Allow" for action in _all(one["Action"])}
    assert {right for right in given - asked - others if not right.startswith("ecr:")} == set()


def _all(actions: Any) -> list[str]:
    return [actions] if isinstance(actions, str) else list(actions)


def test_every_call_of_the_sources_is_made(calls: list[Call]) -> None:
    """What the package asks of AWS anywhere is among the calls above."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY)
    known: dict[str, set[str]] = {}
    for service in SERVICES:
        for method, operation in session.client(service, region_name=REGION).meta.method_to_api_mapping.items():
            known.setdefault(method, set()).add(operation)
    written = {}
    for entry in importlib.resources.files("trainyard_deploy").iterdir():
        if entry.name.endswith(".py"):
            for node in ast.walk(ast.parse(entry.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in known:
                    written[node.func.attr] = entry.name
    made = {operation for _, operation, _ in calls}
    assert {method: where for method, where in written.items() if not known[method] & made} == {}
    assert len(written) > 15
