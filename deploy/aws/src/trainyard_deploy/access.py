"""How people reach an environment that `trainyard deploy` has made: its address, its first key, its functions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3

from trainyard.clock import SystemClock
from trainyard.errors import ConfigError
from trainyard_deploy import tunnel as forwarding
from trainyard_deploy.aws import AwsCloud, translated
from trainyard_deploy.ports import DeployError
from trainyard_deploy.stacks import Place, key_parameter

if TYPE_CHECKING:
    from collections.abc import Iterator


def parameter(name: str, *, region: str | None, endpoint: str | None = None) -> str:
    """Return what a parameter of Systems Manager holds.

    Raises:
        DeployError: AWS refuses, or there is none.
    """
    with translated(f"read the parameter {name}"):
        answer = _client("ssm", region, endpoint).get_parameter(Name=name, WithDecryption=True)
    return str(answer["Parameter"]["Value"]).strip()


@contextmanager
def tunnel(env: str, *, region: str | None, endpoint: str | None = None) -> Iterator[str]:
    """Return the services' address, on a free port of this machine, for as long as the block lasts.

    Raises:
        DeployError: there is no such environment, or no connection to it came about.
    """
    region = _region(region)
    instance = (_cloud(env, region, endpoint).outputs("services") or {}).get("Instance")
    if instance is None:
        raise _unknown(env, region)
    with forwarding.opened(instance, region, 0, SystemClock()) as url:
        yield url


def described(env: str, *, region: str | None, endpoint: str | None = None) -> dict[str, Any]:
    """Return what is to be known of an environment, as ``trainyard env add`` keeps it.

    ``url`` is None where the services have no domain; ``predictor`` and ``functions`` are URLs, ``signed`` whether IAM
    says who may ask there.

    Raises:
        DeployError: there is no such environment.
    """
    region = _region(region)
    cloud = _cloud(env, region, endpoint)
    settings = cloud.parameters("services")
    if settings is None:
        raise _unknown(env, region)
    parts = [part for part in cloud.parts() if part == "predictor" or part.startswith("predictor-")]
    made = {part: cloud.parameters(part) or {} for part in parts}
    # By what they were made for: the names of stacks have no _, those of models no -.
    urls = {made[part].get("Model", ""): (cloud.outputs(part) or {}).get("Url") for part in parts}
    known = {model: url for model, url in urls.items() if url}
    auth = {given.get("Auth") for given in made.values()}
    return {
        "url": f"https://{settings['Domain']}" if settings.get("Domain") else None,
        "region": region,
        "key_parameter": key_parameter(env),
        "predictor": known.pop("", None),
        "functions": known,
        "signed": auth != {"NONE"},
    }


def _cloud(env: str, region: str, endpoint: str | None) -> AwsCloud:
    # Neither outputs nor parameters need the account's number.
    return AwsCloud(lambda service: _client(service, region, endpoint), Place(env, "", region), SystemClock())


def _client(service: str, region: str | None, endpoint: str | None) -> Any:
    return boto3.client(service, region_name=_region(region), endpoint_url=endpoint)


def _region(region: str | None) -> str:
    found = region or boto3.session.Session().region_name
    if found is None:
        raise ConfigError("no region: give --region, or set AWS_DEFAULT_REGION")
    return str(found)


def _unknown(env: str, region: str) -> DeployError:
    return DeployError(f"there is no environment {env} in {region}; make it with: trainyard deploy apply --env {env}")
