"""The stacks of an environment as data: their order, and where each of their parameters comes from."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainyard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard_deploy.choices import Choices

#: What has an image: every service, and what migrates the database before they run.
IMAGES = ("ingest", "scheduler", "trainer", "predictor", "console", "router", "setup")
#: The longest name of a Lambda function, and of a role.
MOST_NAME_CHARS = 64


@dataclass(frozen=True)
class Output:
    """An output of a stack that was deployed before."""

    stack: str
    name: str


@dataclass(frozen=True)
class Image:
    """The image of a service, by digest: known once it was pushed."""

    service: str


@dataclass(frozen=True)
class Released:
    """The version of a function that its alias `live` points to; empty before the first release."""

    function: str


Source = str | Output | Image | Released


@dataclass(frozen=True)
class Place:
    """Whose environment it is, and where."""

    env: str
    account: str
    region: str

    @property
    def bucket(self) -> str:
        """The name of the bucket: names of buckets are the world's."""
        return f"trainyard-{self.env}-{self.account}-{self.region}"

    @property
    def state_bucket(self) -> str:
        """The bucket of the deploy command itself."""
        return f"trainyard-deploy-{self.account}-{self.region}"

    @property
    def registry(self) -> str:
        """The host of the account's registry."""
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com"

    @property
    def function(self) -> str:
        """The name of the function that answers for all models."""
        return self.function_of("")

    def function_of(self, model: str) -> str:
        """Return the name of a model's own function; of no model: of the one that answers for all."""
        return f"trainyard-{self.env}-predictor{f'-{model}' if model else ''}"


@dataclass(frozen=True)
class Stack:
    """One stack; ``part`` is the rest of its name, ``template`` the file that it is made from."""

    part: str
    template: str
    parameters: Mapping[str, Source] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The template."""
        return (importlib.resources.files("trainyard_deploy") / "templates" / f"{self.template}.yaml").read_text(
            "utf-8"
        )


def key_parameter(env: str) -> str:
    """Return the name of the parameter that holds the first key of an environment."""
    return f"/trainyard/{env}/keys/admin"


def stacks(place: Place, c: Choices) -> dict[str, Stack]:
    """Return the stacks of an environment by part, in the order in which they are made.

    Raises:
        ConfigError: the function of a model would have a name that AWS does not take.
    """
    for model in c.own_functions:
        if len(place.function_of(model)) > MOST_NAME_CHARS:
            raise ConfigError(
                f"the function of {model} would be called {place.function_of(model)}, which is longer than the"
                f" {MOST_NAME_CHARS} characters that AWS takes; take a shorter name of the environment or the model"
            )
    made = [
        Stack("network", "network", {"PrivateTrainers": c.private_trainers, "Domain": c.domain}),
        Stack("queues", "queues", {"Bucket": place.bucket}),
        Stack(
            "storage",
            "storage",
            {
                "Bucket": place.bucket,
                "ObjectsQueueArn": Output("queues", "ObjectsArn"),
                "BatchQueueArn": Output("queues", "BatchArn"),
                "SchedulerRole": f"trainyard-{place.env}-scheduler",
            },
        ),
        Stack("registry", "registry"),
        Stack(
            "database",
            "database",
            {
                "Subnets": Output("network", "DatabaseSubnets"),
                "SecurityGroup": Output("network", "DatabaseGroup"),
                "InstanceClass": c.database_class,
                "StorageGb": str(c.database_gb),
                "MultiAz": _flag(c.multi_az),
                "BackupDays": str(c.backup_days),
            },
        ),
        Stack("roles", "roles", {"Bucket": place.bucket, "DatabaseSecret": Output("database", "Secret")}),
        Stack("services", "services", _services(place, c)),
        Stack("fleet", "fleet", _fleet(place, c)),
        _predictor(place, c, ""),
        *(_predictor(place, c, model) for model in c.own_functions),
        Stack(
            "alarms",
            "alarms",
            {
                "Email": c.email,
                "DatabaseInstance": Output("database", "Instance"),
                "ControlInstance": Output("services", "Instance"),
                "BudgetUsd": str(c.budget_usd),
                "Dashboard": _flag(c.dashboard),
            },
        ),
    ]
    return {stack.part: Stack(stack.part, stack.template, {"Env": place.env, **stack.parameters}) for stack in made}


def _services(place: Place, c: Choices) -> dict[str, Source]:
    return {
        "Bucket": place.bucket,
        "Registry": place.registry,
        "Subnet": Output("network", "ControlSubnet"),
        "SecurityGroup": Output("network", "ControlGroup"),
        "Profile": Output("roles", "ControlProfile"),
        "IngestRole": Output("roles", "IngestRole"),
        "SchedulerRole": Output("roles", "SchedulerRole"),
        "DatabaseHost": Output("database", "Host"),
        "DatabaseSecret": Output("database", "Secret"),
        "TrainerSubnets": Output("network", "TrainerSubnets"),
        "Domain": c.domain,
        "InstanceType": c.control_type,
        "DiskGb": str(c.control_gb),
        "FleetMax": str(c.fleet_max),
        "FleetMaxUsdPerDay": str(c.fleet_max_usd_per_day),
    }


def _fleet(place: Place, c: Choices) -> dict[str, Source]:
    return {
        "Bucket": place.bucket,
        "Image": Image("trainer"),
        "Registry": place.registry,
        "Profile": Output("roles", "TrainerProfile"),
        "SecurityGroup": Output("network", "TrainerGroup"),
        "PublicAddress": _flag(c.private_trainers == "none"),
        "DatabaseHost": Output("database", "Host"),
        "DatabaseSecret": Output("database", "Secret"),
    }


def _predictor(place: Place, c: Choices, model: str) -> Stack:
    return Stack(
        predictor_part(model),
        "predictor",
        {
            "Bucket": place.bucket,
            "ImageUri": Image("predictor"),
            "PredictionsUrl": Output("queues", "PredictionsUrl"),
            "BatchUrl": Output("queues", "BatchUrl"),
            "BatchArn": Output("queues", "BatchArn"),
            "Model": model,
            "Auth": c.predictor_auth,
            "MemoryMb": str(c.predictor_memory_mb),
            "Concurrency": str(c.predictor_concurrency),
            "ReleaseVersion": Released(place.function_of(model)),
        },
    )


def predictor_part(model: str) -> str:
    """Return the part of a model's own predictor: the names of stacks have no _, those of models no -."""
    return f"predictor-{model.replace('_', '-')}" if model else "predictor"


def _flag(value: bool) -> str:
    return "true" if value else "false"
