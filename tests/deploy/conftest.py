"""The templates as the tests read them: with the values that an environment called `test` would give them."""

from __future__ import annotations

import importlib.resources
import re
from typing import Any

import pytest
import yaml

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
        match node:
            case {"Ref": name}:
                return self._names.get(name, name)
            case {"Fn::GetAtt": [name, "Arn"]}:
                return self._arn(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return f"<{name}.{attribute}>"
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]+)\}", lambda m: str(self._names.get(m[1], m[1])), text)
            case {"Fn::If": [name, yes, no]}:
                return self.value(yes if self._holds(self.raw["Conditions"][name]) else no)
            case {"Fn::Join": [glue, parts]}:
                return glue.join(self.value(part) for part in self.value(parts))
            case {"Fn::Base64": text}:
                return self.value(text)
            case {"Fn::Select": [index, {"Fn::GetAZs": _}]}:
                return f"{REGION}{'abc'[index]}"
            case dict():
                return {key: self.value(value) for key, value in node.items()}
            case list():
                return [value for value in map(self.value, node) if value is not None]
        return node

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
