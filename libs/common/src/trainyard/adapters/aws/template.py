"""The launch template of the trainers: what `ensure()` makes where no deployment has made one."""

from __future__ import annotations

import base64
import shlex
from typing import TYPE_CHECKING, Any

from trainyard.adapters.aws.ec2 import ENV_TAG, PROJECT, PROJECT_TAG, launch_template_name
from trainyard.errors import ConfigError

if TYPE_CHECKING:
    from trainyard.config import Config

#: EC2 takes no more than that, before base64.
MAX_USER_DATA_BYTES = 16_384
_INSTALL_DOCKER = """command -v docker >/dev/null || dnf install -y -q docker
systemctl start docker
case {image} in
  *.dkr.ecr.*.amazonaws.com/*)
    aws ecr get-login-password | docker login --username AWS --password-stdin {registry} ;;
esac"""


def trainer_environment(config: Config) -> dict[str, str]:
    """Return the environment of a trainer on an instance; no secret is in it, for anybody on it can read user data."""
    environment = {
        "TRAINYARD_ENV": config.env,
        "TRAINYARD_LOG_LEVEL": config.log_level,
        "AWS_DEFAULT_REGION": config.aws_region,
        "TRAINYARD_BUCKET": config.bucket,
        "TRAINYARD_QUEUE_TRAINING": config.queue_training,
        "TRAINYARD_QUEUE_ARRIVED": config.queue_arrived,
        "TRAINYARD_QUEUE_OBJECTS": config.queue_objects,
        "TRAINYARD_QUEUE_PREDICTIONS": config.queue_predictions,
        "TRAINYARD_LEASE_SECONDS": str(config.lease_seconds),
        "TRAINYARD_IDLE_SECONDS": f"{config.idle_seconds:g}",
        "TRAINYARD_WORK_DIR": "/var/tmp/trainyard",  # noqa: S108 - the instance is the trainer's alone
    }
    if config.aws_endpoint_url:
        environment["AWS_ENDPOINT_URL"] = config.aws_endpoint_url
    return environment


def user_data(config: Config) -> str:
    """Return the script that an instance runs at its first start: the trainer, and after it the end of the instance.

    The address of the database, with its password, is read from Secrets Manager by the instance's own role.

    Raises:
        ConfigError: it is longer than EC2 takes.
    """
    environment = trainer_environment(config)
    lines = [
        "#!/bin/bash",
        "# Made by trainyard. Whatever ends the trainer ends the instance: an idle machine is only cost.",
        "trap 'shutdown -h now' EXIT",
        "set -eu",
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
    ]
    if config.trainer_database_secret:
        secret = shlex.quote(config.trainer_database_secret)
        ask = f"aws secretsmanager get-secret-value --query SecretString --output text --secret-id {secret}"
        lines += [f"TRAINYARD_DATABASE_URL=$({ask})", "export TRAINYARD_DATABASE_URL"]
    if config.trainer_image:
        image = shlex.quote(config.trainer_image)
        registry = shlex.quote(config.trainer_image.split("/", 1)[0])
        names = " ".join(f"-e {name}" for name in (*environment, "TRAINYARD_DATABASE_URL"))
        lines += [
            _INSTALL_DOCKER.format(image=image, registry=registry),
            "gpus=$([ -e /dev/nvidia0 ] && echo '--gpus all' || true)",
            f"docker run --rm --network host --stop-timeout 30 $gpus {names} {image}",
        ]
    else:
        lines.append(config.trainer_command)
    script = "\n".join(lines) + "\n"
    if len(script.encode()) > MAX_USER_DATA_BYTES:
        raise ConfigError(f"the trainer's user data is longer than {MAX_USER_DATA_BYTES} bytes")
    return script


def template_request(config: Config) -> dict[str, Any]:
    """Return the parameters of CreateLaunchTemplate."""
    data: dict[str, Any] = {
        "ImageId": config.trainer_ami,
        "InstanceType": config.instance_types[0],
        "InstanceInitiatedShutdownBehavior": "terminate",
        # Two hops: the trainer in its container asks for metadata too.
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2, "HttpEndpoint": "enabled"},
        "UserData": base64.b64encode(user_data(config).encode()).decode(),
    }
    if config.trainer_profile:
        data["IamInstanceProfile"] = {"Name": config.trainer_profile}
    if config.trainer_security_groups:
        data["SecurityGroupIds"] = list(config.trainer_security_groups)
    tags = [{"Key": ENV_TAG, "Value": config.env}, {"Key": PROJECT_TAG, "Value": PROJECT}]
    return {
        "LaunchTemplateName": launch_template_name(config.env),
        "LaunchTemplateData": data,
        "TagSpecifications": [{"ResourceType": "launch-template", "Tags": tags}],
    }
