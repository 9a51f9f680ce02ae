"""The stacks on an emulator: made, made again, and then used by the services, which find nothing left to make."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml
from whole_emulator import QuickClock

from trainyard import config
from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard_deploy import access
from trainyard_deploy.aws import AwsCloud
from trainyard_deploy.choices import Choices
from trainyard_deploy.ports import DeployError
from trainyard_deploy.stacks import Image, Output, Place, Released, stacks
from trainyard_deploy.steps import Deployment, Outside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.testing.emulator import AwsEmulator
    from trainyard_deploy.stacks import Stack

PLACE = Place("test", "000000000000", "us-east-1")
STACKS = stacks(PLACE, Choices())
GAPS = tomllib.loads((Path(__file__).parents[2] / "deploy/aws/emulator_gaps.toml").read_text())
#: What can be made without containers behind it.
WITHOUT_DOCKER = ("network", "queues", "storage", "registry", "roles", "fleet", "predictor")
_DIGEST = "sha256:" + "1" * 64


@pytest.fixture(scope="module")
def client(emulator: AwsEmulator) -> Callable[[str], Any]:
    """boto3's clients of it."""

    def make(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=emulator.endpoint,
            region_name=PLACE.region,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    return make


@pytest.fixture(scope="module")
def cloud(client: Callable[[str], Any]) -> AwsCloud:
    """The account, as a deployment sees it."""
    return AwsCloud(client, PLACE, QuickClock())


def put(cloud: AwsCloud, part: str, known: Mapping[str, Stack] = STACKS, **given: str) -> bool:
    stack, parameters = known[part], {}
    for name, source in stack.parameters.items():
        match source:
            case Output(other, output):
                # Postgres and the instance are containers: what they would give is made up.
                parameters[name] = (cloud.outputs(other) or {}).get(output, f"made-up-{name}")
            case Image(service):
                parameters[name] = f"{PLACE.registry}/trainyard-test/{service}@{_DIGEST}"
            case Released(function):
                parameters[name] = cloud.live(function) or ""
            case _:
                parameters[name] = source
    return cloud.put_stack(part, stack.text, parameters | given)


@pytest.fixture(scope="module")
def made(cloud: AwsCloud) -> AwsCloud:
    """The account with the stacks that need no containers."""
    for part in WITHOUT_DOCKER:
        assert put(cloud, part)
    return cloud


def test_a_second_time_changes_nothing(made: AwsCloud) -> None:
    """Each stack is what its template says already."""
    assert [put(made, part) for part in WITHOUT_DOCKER] == [False] * len(WITHOUT_DOCKER)


def test_a_preview_changes_nothing(cloud: AwsCloud, made: AwsCloud) -> None:
    """It names what would be made, and leaves no stack behind."""
    other = AwsCloud(cloud._client, Place("other", PLACE.account, PLACE.region), QuickClock())
    changes = other.changes("queues", STACKS["queues"].text, {"Env": "other", "Bucket": "some-bucket"})

    assert {"Training", "TrainingDead"} <= {change.resource for change in changes if change.action == "Add"}
    assert other.outputs("queues") is None


def test_a_function_is_released_by_its_alias(made: AwsCloud) -> None:
    """The same code is the same version; the alias, and with it the URL, comes and moves with the stack's parameter."""
    function = PLACE.function
    version = made.publish(function)
    assert (made.publish(function), made.live(function)) == (version, None)

    assert put(made, "predictor", ReleaseVersion=version)
    assert made.live(function) == version
    assert (made.outputs("predictor") or {})["Url"].startswith("https://")

    image = f"{PLACE.registry}/trainyard-test/predictor@sha256:{'2' * 64}"
    assert put(made, "predictor", ImageUri=image)
    assert made.live(function) == version, "new code reaches nobody before the alias moves"
    newer = made.publish(function)
    assert newer != version
    for wanted in (newer, version):
        assert put(made, "predictor", ImageUri=image, ReleaseVersion=wanted)
        assert made.live(function) == wanted


def test_batch_jobs_reach_the_released_function(made: AwsCloud, client: Callable[[str], Any]) -> None:
    """Messages come one at a time, and stay hidden for six turns; a look comes by itself."""
    function = PLACE.function
    put(made, "predictor", ReleaseVersion=made.publish(function))
    queue = client("sqs").get_queue_url(QueueName="trainyard-test-batch")["QueueUrl"]
    attributes = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    (mapping,) = client("lambda").list_event_source_mappings(EventSourceArn=attributes["QueueArn"])[
        "EventSourceMappings"
    ]
    (target,) = client("events").list_targets_by_rule(Rule="trainyard-test-batch-look")["Targets"]
    timeout = client("lambda").get_function_configuration(FunctionName=function)["Timeout"]

    assert mapping["FunctionArn"].endswith(f"{function}:live")
    assert (mapping["BatchSize"], mapping["FunctionResponseTypes"]) == (1, ["ReportBatchItemFailures"])
    assert int(attributes["VisibilityTimeout"]) == 6 * timeout
    assert (target["Arn"], target["Input"]) == (mapping["FunctionArn"], '{"batch_look": true}')


def test_a_release_is_kept(made: AwsCloud) -> None:
    """None at first; then what was written last."""
    assert made.release() is None
    made.put_release("one")
    made.put_release("two")
    assert made.release() == "two"


def test_the_services_find_nothing_to_make(made: AwsCloud, emulator: AwsEmulator) -> None:
    """What CloudFormation made is what the scheduler would have made: it writes nothing, for it may not."""
    names = {
        f"TRAINYARD_QUEUE_{name.upper()}": f"trainyard-test-{name}"
        for name in ("training", "arrived", "objects", "predictions", "batch")
    }
    settings = config.load({**emulator.environment, **names, "TRAINYARD_ENV": "test", "TRAINYARD_BUCKET": PLACE.bucket})
    clients = AwsClients(settings, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    written: list[str] = []
    for one in (clients.s3, clients.sqs):
        one.meta.events.register("before-call.*.*", lambda model, **_: written.append(model.name))

    AwsSetup(clients, settings).ensure()

    assert [name for name in written if not name.startswith(("Get", "Head"))] == GAPS["features"]["lifecycle"]["writes"]


def test_deleted_stacks_are_gone_and_data_stays(client: Callable[[str], Any]) -> None:
    """The bucket outlives its stack; a stack that is not there can be deleted."""
    place = Place("gone", PLACE.account, PLACE.region)
    cloud = AwsCloud(client, place, QuickClock())
    own = stacks(place, Choices())
    bucket = {"Bucket": place.bucket, "Env": "gone"}
    cloud.put_stack("queues", own["queues"].text, bucket)
    made = cloud.outputs("queues") or {}
    told = {"ObjectsQueueArn": made["ObjectsArn"], "BatchQueueArn": made["BatchArn"]}
    cloud.put_stack("storage", own["storage"].text, {**bucket, **told, "SchedulerRole": "some-role"})
    for part in ("storage", "queues", "queues"):
        cloud.delete_stack(part)

    assert cloud.outputs("queues") is None
    assert client("s3").head_bucket(Bucket=place.bucket)
    assert not client("sqs").list_queues(QueueNamePrefix="trainyard-gone").get("QueueUrls")


def test_a_models_function_goes_with_its_model(made: AwsCloud, client: Callable[[str], Any]) -> None:
    """Of two, the one that is chosen no more: function, role and logs; another environment's stacks are not ours."""
    both = stacks(PLACE, Choices(own_functions=("late_flights", "buys")))
    for part in ("predictor-late-flights", "predictor-buys"):
        put(made, part, both)
    other = AwsCloud(client, Place("test-eu", PLACE.account, PLACE.region), QuickClock())
    other.put_stack("predictor-x", both["registry"].text, {"Env": "test-eu"})
    nobody: Any = None
    deployment = Deployment(PLACE, Choices(own_functions=("buys",)), Outside(made, nobody, nobody, QuickClock()))
    (retire,) = (step for step in deployment.steps() if step.name == "retire")
    retire.do(nobody)

    functions = {one["FunctionName"] for one in client("lambda").list_functions()["Functions"]}
    roles = {one["RoleName"] for one in client("iam").list_roles()["Roles"]}
    for named in (functions, roles):
        assert "trainyard-test-predictor-buys" in named
        assert "trainyard-test-predictor-late_flights" not in named
    assert "predictor-late-flights" not in made.parts()
    assert other.parts() == ["predictor-x"]


def test_what_people_need_to_reach_it(
    made: AwsCloud, client: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Domain or none, the first key's place, the URL of every function: all of it from the stacks themselves."""
    monkeypatch.setattr(access, "_client", lambda service, _region, _endpoint: client(service))
    with pytest.raises(DeployError, match="no environment nowhere in us-east-1"):
        access.described("nowhere", region="us-east-1")
    both = stacks(PLACE, Choices(own_functions=("late_buys",)))
    for part, function in (("predictor", PLACE.function), ("predictor-late-buys", PLACE.function_of("late_buys"))):
        put(made, part, both)
        put(made, part, both, ReleaseVersion=made.publish(function))
    # The instance is a container: a stack of that name, with the parameter that is read, stands for it.
    queue = "{Type: 'AWS::SQS::Queue', Properties: {Tags: [{Key: domain, Value: {Ref: Domain}}]}}"
    template = f"Parameters: {{Domain: {{Type: String}}}}\nResources: {{Queue: {queue}}}"
    made.put_stack("services", template, {"Domain": ""})

    found = access.described("test", region="us-east-1")
    assert (found["url"], found["key_parameter"], found["signed"]) == (None, "/trainyard/test/keys/admin", True)
    assert found["predictor"].startswith("https://")
    assert list(found["functions"]) == ["late_buys"]
    assert found["functions"]["late_buys"] != found["predictor"]

    made.put_stack("services", template, {"Domain": "trainyard.example.com"})
    assert access.described("test", region="us-east-1")["url"] == "https://trainyard.example.com"
    client("ssm").put_parameter(Name=found["key_parameter"], Value="ty_first\n", Type="SecureString")
    assert access.parameter(found["key_parameter"], region="us-east-1") == "ty_first"
    with pytest.raises(DeployError, match="cannot read the parameter"):
        access.parameter("/trainyard/nowhere", region="us-east-1")


def test_a_broken_template_is_told(cloud: AwsCloud) -> None:
    """What AWS refuses names the stack, in AWS's words."""
    with pytest.raises(DeployError, match="broken"):
        cloud.put_stack("broken", "Resources: {Nothing: {Type: 'AWS::Nothing::AtAll'}}", {})


def test_alarms_of_expressions_are_a_gap_still(made: AwsCloud) -> None:
    """Once the emulator takes them, the stack belongs to those that are made here."""
    with pytest.raises(DeployError, match=GAPS["features"]["metric_math"]["says"]):
        put(made, "alarms")


def test_rds_makes_no_secret_still(made: AwsCloud) -> None:
    """Once RDS keeps its password in a secret here, a rehearsal makes the stack database as it is."""
    with pytest.raises(DeployError, match=GAPS["features"]["database"]["says"]):
        put(made, "database")


@pytest.mark.parametrize(
    ("feature", "call", "given"),
    [
        ("commands", "list_command_invocations", {}),
        ("sessions", "start_session", {"Target": "i-0123456789abcdef0"}),
    ],
)
def test_what_is_asked_elsewhere_is_a_gap_still(
    client: Callable[[str], Any], feature: str, call: str, given: dict[str, str]
) -> None:
    """Once the emulator knows the call, a rehearsal makes it."""
    ssm = client("ssm")
    with pytest.raises(ssm.exceptions.ClientError, match=GAPS["features"][feature]["says"]):
        getattr(ssm, call)(**given)


def test_the_listed_gaps_are_the_gaps(client: Callable[[str], Any]) -> None:
    """Every type of resource is known to the emulator, or listed; and none is listed that it knows."""
    types = {
        resource["Type"] for stack in STACKS.values() for resource in yaml.safe_load(stack.text)["Resources"].values()
    }
    unknown = set()
    for kind in sorted(types):
        body = f'{{"Resources": {{"One": {{"Type": "{kind}", "Properties": {{}}}}}}}}'
        name = kind.replace("::", "-").lower()
        try:
            client("cloudformation").create_stack(StackName=name, TemplateBody=body)
        except client("cloudformation").exceptions.ClientError as e:
            if "nsupported" in str(e) or "nrecognized" in str(e):
                unknown.add(kind)
        else:
            events = client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
            if any("nsupported" in str(event.get("ResourceStatusReason", "")) for event in events):
                unknown.add(kind)

    assert unknown == set(GAPS["types"])
