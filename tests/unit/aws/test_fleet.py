"""What the fleet makes of EC2's answers: places, refusals, prices and the launch template; no socket."""

from __future__ import annotations

import base64
import json
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import ANY, Stubber

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ec2 import Ec2Fleet, Places
from trainyard.adapters.aws.prices import Ec2Prices, PriceTable, load_table
from trainyard.adapters.aws.template import MAX_USER_DATA_BYTES, template_request, user_data
from trainyard.config import load
from trainyard.contracts.fleet import LaunchRefusedError, LaunchSpec, NoCapacityError
from trainyard.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SPEC = LaunchSpec(("c7i.large", "g5.xlarge"), spot=True)
_AT = datetime(2026, 1, 1, tzinfo=UTC)


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


def _refusal(*codes: str) -> dict[str, Any]:
    return {"FleetId": "f", "Errors": [{"ErrorCode": code, "ErrorMessage": f"words of {code}"} for code in codes]}


def _expected(places: list[dict[str, str]]) -> dict[str, Any]:
    overrides = [
        {"InstanceType": kind, "Priority": float(rank), **place}
        for rank, kind in enumerate(_SPEC.instance_types)
        for place in places
    ]
    template = {"LaunchTemplateName": "trainyard-dev-trainer", "Version": "$Default"}
    return {
        "Type": "instant",
        "ClientToken": ANY,
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": template, "Overrides": overrides}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        "SpotOptions": ANY,
        "OnDemandOptions": ANY,
        "TagSpecifications": ANY,
    }


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (Places(), [{}]),
        (Places(zones=("z1", "z2")), [{"AvailabilityZone": "z1"}, {"AvailabilityZone": "z2"}]),
        (Places(subnets=("s1", "s2"), zones=("z1",)), [{"SubnetId": "s1"}, {"SubnetId": "s2"}]),
    ],
)
def test_every_type_in_every_place(clients: AwsClients, places: Places, expected: list[dict[str, str]]) -> None:
    """The overrides are types times subnets, else types times zones, else types; the answer's zone is kept."""
    place = {"Overrides": {"AvailabilityZone": "z2"}}
    launched = {"InstanceIds": ["i-1"], "InstanceType": "c7i.large", "LaunchTemplateAndOverrides": place}
    with _playing(clients.ec2) as ec2:
        ec2.add_response("describe_instances", {"Reservations": []})
        ec2.add_response("create_fleet", {"FleetId": "f", "Instances": [launched]}, _expected(expected))
        instance = Ec2Fleet(clients.ec2, "dev", places=places).launch("launch-1", _SPEC)
    assert (instance.zone, instance.market) == ("z2", "spot")


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([_refusal("InsufficientInstanceCapacity", "Unsupported"), _refusal("VcpuLimitExceeded")], NoCapacityError),
        ([_refusal("MaxSpotInstanceCountExceeded"), _refusal("VcpuLimitExceeded")], LaunchRefusedError),
        ([_refusal("InvalidAMIID.NotFound")], LaunchRefusedError),
        ([_refusal("Unsupported"), _refusal("Unsupported")], LaunchRefusedError),
        ([_refusal("RequestLimitExceeded")], TransientError),
        (["UnauthorizedOperation"], LaunchRefusedError),
        (["InvalidParameterValue"], LaunchRefusedError),
        (["InsufficientInstanceCapacity", _refusal("InsufficientInstanceCapacity")], NoCapacityError),
        (["VcpuLimitExceeded", "VcpuLimitExceeded"], LaunchRefusedError),
        (["RequestLimitExceeded"], TransientError),
    ],
)
def test_refusals_are_told_apart(clients: AwsClients, answers: list[Any], error: type[Exception]) -> None:
    """Lack of capacity and quotas let the other market be asked; what only a person can mend ends the launch at once.

    Waiting helps as soon as one answer was a lack of capacity.
    """
    with _playing(clients.ec2) as ec2:
        ec2.add_response("describe_instances", {"Reservations": []})
        for answer in answers:
            if isinstance(answer, str):
                ec2.add_client_error("create_fleet", answer, "words", http_status_code=400)
            else:
                ec2.add_response("create_fleet", answer)
        with pytest.raises(error, match="launch-1"):
            Ec2Fleet(clients.ec2, "dev").launch("launch-1", _SPEC)


def test_spot_only(clients: AwsClients) -> None:
    """While on-demand capacity is not wanted, it is not asked for."""
    patient = LaunchSpec(("c7i.large",), spot=True, on_demand=False)
    with _playing(clients.ec2) as ec2:
        ec2.add_response("describe_instances", {"Reservations": []})
        ec2.add_response("create_fleet", _refusal("InsufficientInstanceCapacity"))
        with pytest.raises(NoCapacityError):
            Ec2Fleet(clients.ec2, "dev").launch("launch-1", patient)


# --- prices ---

_TABLE = PriceTable("us-east-1", "2026-01-01", {"c7i.large": 0.1})


def _history(*prices: tuple[str, float, str]) -> dict[str, Any]:
    return {
        "SpotPriceHistory": [
            {"AvailabilityZone": zone, "Timestamp": _AT.replace(hour=int(hour)), "SpotPrice": price}
            for zone, hour, price in prices
        ]
    }


def test_spot_price_is_ec2s_newest(clients: AwsClients) -> None:
    """The newest price of the zone; where no zone is known, the highest of the zones' newest."""
    prices = Ec2Prices(clients.ec2, "us-east-1", _TABLE)
    expected = {"InstanceTypes": ["c7i.large"], "ProductDescriptions": ["Linux/UNIX"], "MaxResults": 50}
    with _playing(clients.ec2) as ec2:
        history = _history(("a", 1, "0.01"), ("a", 3, "0.03"), ("a", 2, "0.09"), ("b", 1, "0.02"))
        ec2.add_response("describe_spot_price_history", history, expected)
        assert prices.usd_per_hour("c7i.large", "spot", None) == 0.03
        ec2.add_response(
            "describe_spot_price_history", _history(("a", 1, "0.01")), {**expected, "AvailabilityZone": "a"}
        )
        assert prices.usd_per_hour("c7i.large", "spot", "a") == 0.01


def test_list_price(clients: AwsClients) -> None:
    """The table tells on-demand prices, and those of spot where EC2 does not; what it does not hold, nobody knows."""
    prices = Ec2Prices(clients.ec2, "us-east-1", _TABLE)
    with _playing(clients.ec2) as ec2:
        assert prices.usd_per_hour("c7i.large", "on-demand", "a") == 0.1
        assert prices.usd_per_hour("x9.huge", "on-demand", "a") is None
        ec2.add_client_error("describe_spot_price_history", "InvalidAction")
        assert prices.usd_per_hour("c7i.large", "spot", None) == 0.1
        ec2.add_response("describe_spot_price_history", {"SpotPriceHistory": []})
        assert prices.usd_per_hour("c7i.large", "spot", None) == 0.1
        ec2.add_response("describe_spot_price_history", _history(("a", 1, "cheap")))
        assert prices.usd_per_hour("x9.huge", "spot", None) is None
    assert Ec2Prices(clients.ec2, "eu-west-1", _TABLE).usd_per_hour("c7i.large", "on-demand", None) is None


def test_table_of_the_package() -> None:
    """It says which region and day it is for, and knows every type that the settings name by default."""
    table = load_table(None)
    assert table.region == "us-east-1"
    assert datetime.fromisoformat(table.date)
    assert set(load({}).instance_types) | {"g5.xlarge"} <= set(table.usd_per_hour)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        '{"version": 2, "region": "r", "date": "d", "usd_per_hour": {}}',
        '{"version": 1, "region": "r", "date": "d", "usd_per_hour": []}',
        '{"version": 1, "region": "r", "date": "d", "usd_per_hour": {"x": -1}}',
        '{"version": 1, "region": "r", "date": "d", "usd_per_hour": {"x": "NaN"}}',
    ],
)
def test_table_that_is_none(tmp_path: Path, text: str) -> None:
    """A file that is no table of prices is refused by name, at start."""
    path = tmp_path / "prices.json"
    with pytest.raises(ConfigError, match="no table of prices"):
        load_table(path)
    path.write_text(text)
    with pytest.raises(ConfigError, match="no table of prices"):
        load_table(path)


def test_own_table(tmp_path: Path) -> None:
    """A file of the documented form takes the table's place."""
    path = tmp_path / "prices.json"
    own = {"version": 1, "region": "eu-west-1", "date": "2026-01-01", "usd_per_hour": {"c7i.large": 0.2}}
    path.write_text(json.dumps(own))
    assert load_table(path) == PriceTable("eu-west-1", "2026-01-01", {"c7i.large": 0.2})


# --- the launch template ---

_DATABASE_URL = "postgresql+psycopg2://u:hush@h/db"


def _script(**settings: str) -> str:
    return user_data(load({"TRAINYARD_DATABASE_URL": _DATABASE_URL, **settings}))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"TRAINYARD_TRAINER_IMAGE": "1.dkr.ecr.us-east-1.amazonaws.com/trainer:1"},
        {"TRAINYARD_TRAINER_DATABASE_SECRET": "prod/db", "AWS_ENDPOINT_URL": "http://aws"},
        {"TRAINYARD_BUCKET": "it's; rm -rf /"},
    ],
)
def test_user_data_is_a_script_without_secrets(settings: dict[str, str]) -> None:
    """A shell can read it whatever the settings hold; the password of the database is not in it."""
    script = _script(**settings)
    assert subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=False).returncode == 0
    assert "hush" not in script
    assert script.startswith("#!/bin/bash\n")
    assert "trap 'shutdown -h now' EXIT" in script
    assert "export TRAINYARD_QUEUE_TRAINING=trainyard-training\n" in script


def test_user_data_starts_the_trainer() -> None:
    """With an image a container with every variable, from ECR after a login; without one the command."""
    image = _script(TRAINYARD_TRAINER_IMAGE="1.dkr.ecr.us-east-1.amazonaws.com/trainer:1")
    assert "docker login --username AWS --password-stdin 1.dkr.ecr.us-east-1.amazonaws.com" in image
    run = next(line for line in image.splitlines() if line.startswith("docker run"))
    assert run.endswith(" 1.dkr.ecr.us-east-1.amazonaws.com/trainer:1")
    assert " -e TRAINYARD_DATABASE_URL " in run
    assert " -e TRAINYARD_ENV " in run
    assert _script().endswith("/opt/trainyard/bin/python -m trainyard_trainer.main\n")
    assert "--secret-id prod/db" in _script(TRAINYARD_TRAINER_DATABASE_SECRET="prod/db")
    assert "AWS_ENDPOINT_URL" not in _script()
    with pytest.raises(ConfigError, match=str(MAX_USER_DATA_BYTES)):
        _script(TRAINYARD_TRAINER_COMMAND="x" * MAX_USER_DATA_BYTES)


def test_template_request(clients: AwsClients) -> None:
    """IMDSv2 with two hops, an end by shutdown, image, profile and groups as the settings say; EC2's API takes it."""
    given = {
        "TRAINYARD_TRAINER_AMI": "ami-1",
        "TRAINYARD_TRAINER_PROFILE": "trainer",
        "TRAINYARD_TRAINER_SECURITY_GROUPS": "sg-1 sg-2",
    }
    request = template_request(load(given))
    data = request["LaunchTemplateData"]
    assert data["MetadataOptions"] == {
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 2,
        "HttpEndpoint": "enabled",
    }
    assert (data["InstanceInitiatedShutdownBehavior"], data["ImageId"]) == ("terminate", "ami-1")
    assert (data["IamInstanceProfile"], data["SecurityGroupIds"]) == ({"Name": "trainer"}, ["sg-1", "sg-2"])
    assert base64.b64decode(data["UserData"]).decode() == user_data(load(given))
    assert not {"IamInstanceProfile", "SecurityGroupIds"} & template_request(load({}))["LaunchTemplateData"].keys()
    with _playing(clients.ec2) as ec2:
        ec2.add_response("create_launch_template", {}, request)
        clients.ec2.create_launch_template(**request)
