"""An account on the emulator as `trainyard deploy` sees it, with what stands in for what the emulator lacks."""

from __future__ import annotations

import base64
import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml
from gaps import resource, without_gaps

from trainyard.clock import SystemClock
from trainyard.testing.processes import wait_until
from trainyard_client.client import Client
from trainyard_deploy.access import parameter
from trainyard_deploy.aws import AwsCloud
from trainyard_deploy.commands import Target
from trainyard_deploy.ports import DeployError
from trainyard_deploy.stacks import Place, Stack, key_parameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from engine import Corner

    from trainyard_deploy.ports import Change

ACCOUNT, REGION = "000000000000", "us-east-1"
_DATABASE, _INSTANCE, _DOCUMENT = "AWS::RDS::DBInstance", "AWS::EC2::Instance", "AWS::SSM::Document"
_WAIT_SECONDS = 120
#: What RDS makes passwords of has to be quoted in an address.
_AWKWARD = "@/:%#"


@dataclass(frozen=True)
class EmulatedPlace(Place):
    """A place whose registry is the emulator's own address: the engine would ask AWS for a name of AWS."""

    address: str = ""

    @property
    def registry(self) -> str:
        """The host of the registry."""
        return self.address


class QuickClock(SystemClock):
    """The emulator is done at once, so nobody waits long for it."""

    def sleep(self, seconds: float) -> None:
        """Sleep, but not for long."""
        super().sleep(min(seconds, 0.5))


@dataclass(frozen=True)
class Rehearsal(Target):
    """An environment in a corner of a Docker engine."""

    corner: Corner = field(kw_only=True)

    @cached_property
    def place(self) -> Place:
        """The place."""
        return EmulatedPlace(self.env, ACCOUNT, REGION, self.corner.registry)

    @cached_property
    def cloud(self) -> AwsCloud:
        """The account."""
        return RehearsedCloud(self, QuickClock())

    @contextmanager
    def connect(self) -> Iterator[Client]:
        """Return a client of the services: the router's port instead of a tunnel, which the emulator does not dig."""
        key = parameter(key_parameter(self.env), region=REGION, endpoint=self.endpoint)
        with Client(self.address, key) as client:
            yield client

    @property
    def address(self) -> str:
        """Where the router answers."""
        (router,) = (name for name in self.corner.machines(self.instance) if name.endswith("-router"))
        return f"http://127.0.0.1:{self.corner.published(router, 8080)}"


class RehearsedCloud(AwsCloud):
    """CloudFormation does what it can; Postgres, the control instance and its command are asked for by their APIs."""

    def __init__(self, target: Rehearsal, clock: SystemClock) -> None:
        super().__init__(target.client, target.place, clock)
        self._ask = target.client
        self._corner = target.corner
        self._env = target.env

    # --- stacks ---

    def outputs(self, stack: str) -> Mapping[str, str] | None:
        """Return CloudFormation's outputs, and those of what was made beside it."""
        found = super().outputs(stack)
        if found is None:
            return None
        beside = {"database": self._database_outputs, "services": self._control_outputs}.get(stack)
        return {**found, **(beside() if beside else {})}

    def changes(self, stack: str, template: str, parameters: Mapping[str, str]) -> Sequence[Change]:
        """Return what a change set says of what the emulator knows."""
        return super().changes(stack, without_gaps(template), parameters)

    def put_stack(self, stack: str, template: str, parameters: Mapping[str, str]) -> bool:
        """Make the stack, then what belongs to it and the emulator cannot make."""
        changed = super().put_stack(stack, without_gaps(template), parameters)
        if (wanted := resource(template, _DATABASE)) is not None:
            self._put_database(_given(template, wanted["Properties"], parameters))
        if resource(template, _INSTANCE) is not None:
            self._put_control()
        return changed

    def delete_stack(self, stack: str) -> None:
        """Delete what was made beside the stack first, as CloudFormation would: Postgres leaves a snapshot."""
        if stack == "services":
            self._end_control()
        if stack == "database":
            self._delete_database()
        super().delete_stack(stack)

    # --- Postgres ---

    def _put_database(self, given: Mapping[str, Any]) -> None:
        rds, name = self._ask("rds"), self._database
        if self._database_now() is None:
            password = secrets.token_urlsafe(12) + _AWKWARD
            rds.create_db_instance(
                DBInstanceIdentifier=name,
                Engine=given["Engine"],
                EngineVersion=given["EngineVersion"],
                DBName=given["DBName"],
                DBInstanceClass=given["DBInstanceClass"],
                AllocatedStorage=int(given["AllocatedStorage"]),
                MasterUsername=given["MasterUsername"],
                MasterUserPassword=password,
                DBSubnetGroupName=name,
                PubliclyAccessible=given["PubliclyAccessible"],
                StorageEncrypted=given["StorageEncrypted"],
                BackupRetentionPeriod=int(given["BackupRetentionPeriod"]),
                DeletionProtection=given["DeletionProtection"] == "true",
            )
            # RDS would make the secret, and its password.
            login = {"username": given["MasterUsername"], "password": password}
            self._ask("secretsmanager").create_secret(Name=self._secret, SecretString=json.dumps(login))
        else:
            rds.modify_db_instance(
                DBInstanceIdentifier=name,
                DeletionProtection=given["DeletionProtection"] == "true",
                ApplyImmediately=True,
            )
        wait_until(
            lambda: (self._database_now() or {}).get("DBInstanceStatus") == "available",
            "Postgres",
            seconds=_WAIT_SECONDS,
        )

    def _delete_database(self) -> None:
        found = self._database_now()
        if found is None:
            return
        if found["DeletionProtection"]:
            raise DeployError("the stack database cannot be deleted: its instance is protected")
        self._ask("rds").delete_db_instance(
            DBInstanceIdentifier=self._database, FinalDBSnapshotIdentifier=f"{self._database}-final"
        )
        self._ask("secretsmanager").delete_secret(SecretId=self._secret, ForceDeleteWithoutRecovery=True)

    def _database_now(self) -> dict[str, Any] | None:
        found = self._ask("rds").describe_db_instances()["DBInstances"]
        return next((dict(one) for one in found if one["DBInstanceIdentifier"] == self._database), None)

    def _database_outputs(self) -> dict[str, str]:
        if self._database_now() is None:
            return {}
        # Its address is a number, and its certificate is for its container's name.
        (host,) = self._corner.machines(f"instance-{self._database}")
        secret = self._ask("secretsmanager").describe_secret(SecretId=self._secret)["ARN"]
        return {"Host": host, "Port": "5432", "Secret": secret, "Instance": self._database}

    @property
    def _database(self) -> str:
        return f"trainyard-{self._env}"

    @property
    def _secret(self) -> str:
        return f"rds!db-{self._env}"

    # --- the control instance ---

    def command(self, step: str) -> None:
        """Have the instance do what the environment's document says, by the one document that the emulator runs."""
        ssm, instance = self._ask("ssm"), self._instance()
        document = resource(Stack("services", "services").text, _DOCUMENT) or {}
        written = document["Properties"]["Content"]["mainSteps"][0]["inputs"]["runCommand"]
        lines = [line.replace("{{ step }}", step) for line in written]
        sent = ssm.send_command(
            InstanceIds=[instance], DocumentName="AWS-RunShellScript", Parameters={"commands": lines}
        )["Command"]["CommandId"]

        def ended() -> dict[str, Any] | None:
            found = ssm.get_command_invocation(CommandId=sent, InstanceId=instance)
            return None if found["Status"] in {"Pending", "InProgress"} else found

        wait_until(lambda: ended() is not None, f"{step} on the control instance", seconds=_WAIT_SECONDS)
        if (answer := ended() or {})["Status"] != "Success":
            said = answer["StandardOutputContent"] + answer["StandardErrorContent"]
            raise DeployError(f"{step} on the control instance ended with {answer['Status']}: {said[-2_000:]}")

    def _put_control(self) -> None:
        ec2 = self._ask("ec2")
        template = launch_template(ec2, f"trainyard-{self._env}-control")
        found = self._control()
        version = str(template["VersionNumber"])
        if found is not None and {"Key": "template", "Value": version} in found["Tags"]:
            return
        self._end_control()
        image = self._machine_image()
        launched = ec2.run_instances(
            ImageId=image,
            InstanceType="t3a.micro",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": "Name", "Value": self._control_name}, {"Key": "template", "Value": version}],
                }
            ],
        )["Instances"][0]
        container = f"ministack-ec2-{ACCOUNT}-{REGION}-{launched['InstanceId']}"
        self._corner.boot(container, launched["InstanceId"], "t3a.micro", user_data(template))

    def _end_control(self) -> None:
        found = self._control()
        if found is not None:
            self._corner.end_machine(found["InstanceId"])
            self._ask("ec2").terminate_instances(InstanceIds=[found["InstanceId"]])

    def _control(self) -> dict[str, Any] | None:
        pages = self._ask("ec2").describe_instances(
            Filters=[
                {"Name": "tag:Name", "Values": [self._control_name]},
                {"Name": "instance-state-name", "Values": ["running"]},
            ]
        )
        found = [dict(one) for reservation in pages["Reservations"] for one in reservation["Instances"]]
        return found[0] if found else None

    def _control_outputs(self) -> dict[str, str]:
        found = self._control()
        return {} if found is None else {"Instance": found["InstanceId"]}

    def _machine_image(self) -> str:
        ec2, name = self._ask("ec2"), self._corner.machine_image
        known = [one for one in ec2.describe_images(Owners=["self"])["Images"] if one["Name"] == name]
        return str(known[0]["ImageId"] if known else ec2.register_image(Name=name, ImageLocation=name)["ImageId"])

    @property
    def _control_name(self) -> str:
        return f"trainyard-{self._env}-control"


def launch_template(ec2: Any, name: str) -> dict[str, Any]:
    """Return the newest version of a launch template."""
    versions = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    return dict(versions["LaunchTemplateVersions"][0])


def user_data(template: Mapping[str, Any]) -> str:
    """Return the user data of a launch template, as an instance gets them."""
    return base64.b64decode(template["LaunchTemplateData"]["UserData"]).decode()


def _given(template: str, properties: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return properties with what the parameters say in the place of their names."""
    defaults = {name: str(one.get("Default", "")) for name, one in yaml.safe_load(template)["Parameters"].items()}
    known = {**defaults, **parameters}
    return {
        name: known[value["Ref"]] if isinstance(value, dict) and value.get("Ref") in known else value
        for name, value in properties.items()
    }
