"""The composition root of `trainyard deploy`: its commands as functions for the command line and for tests."""

from __future__ import annotations

import getpass
import hashlib
import os
import secrets
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.clock import SystemClock
from trainyard.errors import ConfigError
from trainyard_client.client import Client
from trainyard_deploy import tunnel
from trainyard_deploy.aws import AwsCloud, translated
from trainyard_deploy.choices import checked_env
from trainyard_deploy.docker import DockerImages
from trainyard_deploy.engine import Engine, Records, Report
from trainyard_deploy.lease import Lease
from trainyard_deploy.ports import DeployError
from trainyard_deploy.smoke import LoopSmokeTest
from trainyard_deploy.stacks import Place, key_parameter
from trainyard_deploy.steps import Deployment, Outside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trainyard_deploy.choices import Choices
    from trainyard_deploy.engine import Step
    from trainyard_deploy.ports import Change

#: What a place is called where only the names of steps are of interest.
NOWHERE = Place("env", "account", "region")


@dataclass(frozen=True)
class Target:
    """What is deployed where: an environment, its choices, and the checkout that the images are built from."""

    env: str
    choices: Choices
    source: Path
    region: str | None = None
    endpoint: str | None = None
    build_role: str | None = None

    @cached_property
    def place(self) -> Place:
        """The place, in the account that the credentials belong to."""
        region = self.region or boto3.session.Session().region_name
        if region is None:
            raise ConfigError("no region: give --region, or set AWS_DEFAULT_REGION")
        try:
            account = boto3.client("sts", region_name=region, endpoint_url=self.endpoint).get_caller_identity()[
                "Account"
            ]
        except (BotoCoreError, ClientError) as e:
            raise DeployError(f"AWS does not say whose account this is: {e}; look at your credentials") from e
        return Place(checked_env(self.env), account, region)

    def client(self, service: str) -> Any:
        """Return boto3's client of a service."""
        return boto3.client(service, region_name=self.place.region, endpoint_url=self.endpoint)

    @cached_property
    def cloud(self) -> AwsCloud:
        """The account."""
        return AwsCloud(self.client, self.place, SystemClock(), build_role=self.build_role)

    @cached_property
    def blobs(self) -> S3Blobs:
        """The bucket of the deploy command, which is made if it is not there."""
        s3, bucket = self.client("s3"), self.place.state_bucket
        where = {} if self.place.region == "us-east-1" else {"LocationConstraint": self.place.region}
        with translated(f"make the bucket {bucket}"):
            try:
                s3.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": where} if where else {}))
            except s3.exceptions.BucketAlreadyOwnedByYou:
                pass
            else:
                everything = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
                s3.put_public_access_block(
                    Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(everything, True)
                )
        return S3Blobs(s3, bucket)

    @cached_property
    def deployment(self) -> Deployment:
        """The environment."""
        clock = SystemClock()
        images = DockerImages(self.source, _revision(self.source), self.client)
        smoke = LoopSmokeTest(self.connect, self.cloud, self.place.function, clock)
        return Deployment(self.place, self.choices, Outside(self.cloud, images, smoke, clock))

    @contextmanager
    def connect(self) -> Iterator[Client]:
        """Return a client of the services, with the first key, for as long as the block lasts."""
        with translated("read the first key"):
            answer = self.client("ssm").get_parameter(Name=key_parameter(self.env), WithDecryption=True)
        key = str(answer["Parameter"]["Value"]).strip()
        with tunnel.opened(self.instance, self.place.region, 0, SystemClock()) as url, Client(url, key) as client:
            yield client

    @property
    def instance(self) -> str:
        """The control instance.

        Raises:
            DeployError: there is none.
        """
        outputs = self.cloud.outputs("services")
        if outputs is None:
            raise DeployError(
                f"there is no environment {self.env} here; make it with: trainyard deploy apply --env {self.env}"
            )
        return outputs["Instance"]


def list_steps(choices: Choices) -> list[Step]:
    """Return the steps of `apply`, without asking anybody."""
    nobody: Any = None
    return Deployment(NOWHERE, choices, Outside(nobody, nobody, nobody, SystemClock())).steps()


def preview(target: Target) -> Sequence[Change]:
    """Return what `apply` would change in CloudFormation; new images come on top."""
    record = Records(target.blobs, target.env).load()
    return list(target.deployment.preview(record))


def apply(target: Target, report: Report) -> None:
    """Bring the environment to what the checkout and the choices say.

    Raises:
        TakenError: somebody else deploys it just now.
        DeployError: a step failed; what was live before is live again.
    """
    deployment = target.deployment
    with Lease(target.blobs, target.env, _owner(), SystemClock()) as lease:
        engine = Engine(
            Records(target.blobs, target.env),
            deployment.steps(),
            check=lease.check,
            roll_back=deployment.roll_back,
            report=report,
        )
        engine.apply(deployment.inputs(_revision(target.source)), deployment.before)


def destroy(target: Target, report: Report, *, data_too: bool) -> None:
    """Delete the stacks in turn; bucket and a snapshot of Postgres stay, unless ``data_too``: then its stack goes too.

    Even then the bucket itself stays, for its template says so: emptying it is a deed of its own.
    """
    records = Records(target.blobs, target.env)
    with Lease(target.blobs, target.env, _owner(), SystemClock()) as lease:
        for step in target.deployment.destroy_steps(data_too=data_too):
            lease.check()
            report.began(step)
            step.do(records.load())  # type: ignore[arg-type]
        records.forget()


def _revision(source: Path) -> str:
    """Return the commit of the checkout, and a hash of what was changed since.

    Raises:
        ConfigError: it is none.
    """
    try:
        git = ["git", "-C", str(source)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "HEAD"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as e:
        raise ConfigError(f"{source} is no checkout of Trainyard: give one with --source") from e
    return f"{commit}-{hashlib.sha256(changed).hexdigest()[:12]}" if changed else commit


def _owner() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
