"""What a deployment needs from outside, in memory; the account tells what was asked of it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from trainyard_deploy.ports import Change, Cloud, DeployError, Images, SmokeTest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OUTPUTS = {
    "network": ("ControlSubnet", "DatabaseSubnets", "TrainerSubnets", "TrainerGroup", "ControlGroup", "DatabaseGroup"),
    "queues": ("ObjectsArn", "PredictionsUrl", "BatchArn", "BatchUrl"),
    "storage": ("Bucket",),
    "registry": ("Registry",),
    "database": ("Host", "Port", "Secret", "Instance"),
    "roles": ("ControlProfile", "TrainerProfile", "IngestRole", "SchedulerRole"),
    "services": ("Instance", "Document"),
    "fleet": ("Template",),
    "predictor": ("Function",),
    "alarms": ("Topic",),
}


class MemoryCloud(Cloud):
    """An account. ``state`` is all that a deployment leaves in it; ``calls`` what was asked for, by name."""

    def __init__(self, env: str) -> None:
        self._env = env
        self.stacks: dict[str, dict[str, str]] = {}
        self.wanted_release: str | None = None
        self.running: str | None = None
        self.migrated: list[str] = []
        self.calls: list[str] = []
        self.sick = False
        self.trainers = 0

    @property
    def state(self) -> dict[str, Any]:
        """What is there, for comparing two accounts."""
        return {"stacks": self.stacks, "release": self.wanted_release, "running": self.running}

    def parts(self) -> Sequence[str]:
        """Return the parts that have a stack."""
        return sorted(self.stacks)

    def outputs(self, stack: str) -> Mapping[str, str] | None:
        """Return one made-up value for each output of the stack."""
        if stack not in self.stacks:
            return None
        return {name: f"{stack}-{name}" for name in _OUTPUTS[stack.partition("-")[0]]}

    def parameters(self, stack: str) -> Mapping[str, str] | None:
        """Return what the stack was made with."""
        found = self.stacks.get(stack)
        return None if found is None else {name: value for name, value in found.items() if name != "template"}

    def changes(self, stack: str, template: str, parameters: Mapping[str, str]) -> Sequence[Change]:
        """Return one change if the stack would become another one."""
        wanted = self._stack(template, parameters)
        if self.stacks.get(stack) == wanted:
            return ()
        return (Change(stack, "Modify" if stack in self.stacks else "Add", "Everything", "AWS::Test::Stack"),)

    def put_stack(self, stack: str, template: str, parameters: Mapping[str, str]) -> bool:
        """Keep template and parameters."""
        changed = bool(self.changes(stack, template, parameters))
        self.calls.append(f"put {stack}")
        self.stacks[stack] = self._stack(template, parameters)
        return changed

    def delete_stack(self, stack: str) -> None:
        """Forget the stack; Postgres is protected, as its template says, until somebody says otherwise."""
        found = self.stacks.get(stack)
        if stack == "network" and self.trainers:
            raise DeployError("the stack network cannot be deleted: there are instances in its subnets")
        if found is not None and stack == "database" and found.get("DeletionProtection") != "false":
            raise DeployError("the stack database cannot be deleted: its instance is protected")
        self.stacks.pop(stack, None)

    def release(self) -> str | None:
        """Return what the instance runs."""
        return self.wanted_release

    def put_release(self, text: str) -> None:
        """Keep it."""
        self.wanted_release = text

    def forget(self) -> None:
        """Drop the release and the key."""
        self.wanted_release = None
        self.calls.append("forget")

    def control_answers(self) -> bool:
        """Answer as soon as the instance is there."""
        return "services" in self.stacks

    def command(self, step: str) -> None:
        """Run what the release names."""
        if self.wanted_release is None:
            raise DeployError(f"{step}: no release is named")
        self.calls.append(step)
        if step == "migrate":
            self.migrated.append(self.wanted_release)
        else:
            self.running = self.wanted_release

    def end_trainers(self) -> None:
        """End them, unless the scheduler is there, which would launch others."""
        self.calls.append("end trainers")
        if "services" not in self.stacks:
            self.trainers = 0

    def live(self, function: str) -> str | None:
        """Return the version that the stack says."""
        stack = self.stacks.get(self._part(function), {})
        return stack.get("ReleaseVersion") or None

    def publish(self, function: str) -> str:
        """Return a version that stands for the image: the same image, the same version, as on AWS."""
        image = self.stacks[self._part(function)]["ImageUri"]
        return str(int(hashlib.sha256(image.encode()).hexdigest()[:6], 16))

    def invoke(self, function: str, version: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Be well, unless ``sick``."""
        self.calls.append(f"invoke {function} {version}")
        return {"statusCode": 503 if self.sick else 200, "event": dict(event)}

    def _part(self, function: str) -> str:
        return function.removeprefix(f"trainyard-{self._env}-").replace("_", "-")

    def _stack(self, template: str, parameters: Mapping[str, str]) -> dict[str, str]:
        return {"template": hashlib.sha256(template.encode()).hexdigest(), **parameters}


class MemoryImages(Images):
    """A builder of images whose digests are made of ``source``."""

    def __init__(self, source: str = "one") -> None:
        self.source = source
        self.built: list[str] = []

    def build(self, service: str) -> None:
        """Note it."""
        self.built.append(service)

    def push(self, service: str, repository: str) -> str:
        """Return the digest."""
        return "sha256:" + hashlib.sha256(json.dumps([self.source, service, repository]).encode()).hexdigest()


class MemorySmoke(SmokeTest):
    """A smoke test that succeeds, until ``problem`` says why it does not."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.runs = 0

    def run(self) -> None:
        """Succeed, or say what is wrong."""
        self.runs += 1
        if self.problem is not None:
            raise DeployError(self.problem)
