"""The templates as the tests read them: with the values that an environment called `test` would give them."""

from __future__ import annotations

import functools
import importlib.resources
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from policy_answers import RESOURCE_POLICIES, ROLES
from whole_emulator import WholeEmulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENV, REGION, ACCOUNT, BUCKET = "test", "eu-west-1", "111122223333", "trainyard-test-111122223333-eu-west-1"
_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": None,
}


class Template:
    """One template; :meth:`value` resolves what stands in it, as CloudFormation would."""

    def __init__(self, name: str, text: str, parameters: dict[str, str]) -> None:
        self.name = name
        self.text = text
        self.raw: dict[str, Any] = yaml.safe_load(text)
        defaults = {key: one.get("Default", f"<{key}>") for key, one in self.raw["Parameters"].items()}
        self._names = {**defaults, **{k: v for k, v in parameters.items() if k in defaults}, **_PSEUDO}

    @property
    def resources(self) -> dict[str, Any]:
        """The resources as they are written."""
        return dict(self.raw["Resources"])

    def resource(self, name: str) -> dict[str, Any]:
        """The properties of one resource, resolved."""
        return dict(self.value(self.resources[name]["Properties"]))

    def value(self, node: Any) -> Any:
        """Resolve ``node``: of other resources their name stands for all that they give."""
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value is not None]
        if not isinstance(node, dict):
            return node
        if len(node) == 1 and (name := next(iter(node))) in self._functions:
            return self._functions[name](node[name])
        return {key: self.value(value) for key, value in node.items()}

    @property
    def _functions(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "Ref": lambda name: self._names.get(name, name),
            "Fn::GetAtt": lambda of: self._arn(of[0]) if of[1] == "Arn" else f"<{of[0]}.{of[1]}>",
            "Fn::Sub": self._filled,
            "Fn::If": lambda of: self.value(of[1] if self._holds(self.raw["Conditions"][of[0]]) else of[2]),
            "Fn::Join": lambda of: of[0].join(self.value(part) for part in self.value(of[1])),
            "Fn::Base64": self.value,
        }

    def _filled(self, text: Any) -> str:
        return re.sub(r"\$\{([^}]+)\}", lambda m: str(self._names.get(m[1], m[1])), str(text))

    def _holds(self, condition: Any) -> bool:
        match condition:
            case {"Fn::Equals": [one, other]}:
                return bool(self.value(one) == self.value(other))
            case {"Fn::Not": [one]}:
                return not self._holds(one)
            case {"Fn::And": each}:
                return all(map(self._holds, each))
            case {"Fn::Or": each}:
                return any(map(self._holds, each))
            case {"Condition": name}:
                return self._holds(self.raw["Conditions"][name])
        raise AssertionError(f"a condition that these tests cannot read: {condition}")

    def _arn(self, name: str) -> str:
        named = self.resource(name)
        if self.resources[name]["Type"] == "AWS::IAM::Role":
            return f"arn:aws:iam::{ACCOUNT}:role/{named['RoleName']}"
        if self.resources[name]["Type"] == "AWS::SQS::Queue":
            return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{named['QueueName']}"
        return f"<{name}.Arn>"


PARAMETERS = {
    "Env": ENV,
    "Bucket": BUCKET,
    "DatabaseSecret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-1",
    "SchedulerRole": f"trainyard-{ENV}-scheduler",
    "Repository": "owner/name",
    "Registry": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com",
    "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/trainyard-{ENV}/trainer@sha256:1",
    "DatabaseHost": "db.example.com",
}


def load(name: str, **parameters: str) -> Template:
    """Return the template ``name``; what is not given has its default, or its own name."""
    text = (importlib.resources.files("trainyard_deploy") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")
    return Template(name, text, PARAMETERS | parameters)


def names() -> list[str]:
    """Return the names of all templates."""
    folder = importlib.resources.files("trainyard_deploy") / "templates"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())


@pytest.fixture(scope="session")
def templates() -> dict[str, Template]:
    """All of them, by name."""
    return {name: load(name) for name in names()}


@pytest.fixture(scope="session")
def template() -> Any:
    """The function that loads one with parameters."""
    return load


@pytest.fixture(scope="session")
def statements(template: Any) -> Any:
    """The function that returns every statement that counts for a role."""

    @functools.cache
    def of(role: str) -> list[dict[str, Any]]:
        name, _, model = role.partition("-")
        file, resource = ROLES[name]
        own = template(file, Model=model).resource(resource)["Policies"]
        guards = [
            statement
            for file, name in RESOURCE_POLICIES
            for statement in template(file).resource(name)["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Deny"
        ]
        return [statement for policy in own for statement in policy["PolicyDocument"]["Statement"]] + guards

    return of


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeEmulator]:
    """A fresh account."""
    one = WholeEmulator(tmp_path_factory.mktemp("aws"))
    one.start()
    yield one
    one.stop()
