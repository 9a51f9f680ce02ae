"""AWS as a deployment sees it: change sets, one command on one instance, versions of functions."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from trainyard.adapters.aws.ec2 import ENV_TAG, LAUNCH_TAG
from trainyard.adapters.aws.errors import code_of, status_of
from trainyard.errors import TransientError
from trainyard_deploy.ports import Change, Cloud, DeployError
from trainyard_deploy.stacks import key_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trainyard.clock import Clock
    from trainyard_deploy.stacks import Place

_POLL_SECONDS = 5.0
#: RDS takes up to half an hour to make an instance; nothing here takes longer.
_STACK_SECONDS = 3_600.0
_COMMAND_SECONDS = 960.0
_NOTHING = ("didn't contain changes", "No updates are to be performed")
#: An inline template may have this many bytes.
MOST_TEMPLATE_BYTES = 51_200


class AwsCloud(Cloud):
    """The environment ``place``; ``client`` returns boto3's client of a service.

    Args:
        build_role: ARN of the role that CloudFormation works with; None: the caller's own rights.
    """

    def __init__(
        self, client: Callable[[str], Any], place: Place, clock: Clock, *, build_role: str | None = None
    ) -> None:
        self._client = client
        self._place = place
        self._clock = clock
        self._build_role = build_role

    # --- stacks ---

    def parts(self) -> Sequence[str]:
        """Return the parts of the stacks that carry the environment's tag: another one's name may begin alike."""
        prefix = self._name("")
        with translated("list the stacks"):
            pages = self._client("cloudformation").get_paginator("describe_stacks").paginate()
            found = [stack for page in pages for stack in page["Stacks"]]
        return sorted(
            stack["StackName"].removeprefix(prefix)
            for stack in found
            if stack["StackName"].startswith(prefix)
            and stack["StackStatus"] != "DELETE_COMPLETE"
            and {"Key": "trainyard:env", "Value": self._place.env} in stack.get("Tags", [])
        )

    def parameters(self, stack: str) -> Mapping[str, str] | None:
        """Return what a stack was made with; None when there is no such stack."""
        with translated(f"look at the stack {stack}"):
            found = self._stack(stack)
        if found is None:
            return None
        return {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}

    def outputs(self, stack: str) -> Mapping[str, str] | None:
        """Return the outputs of a stack; None when there is no such stack, or only the beginning of one."""
        with translated(f"look at the stack {stack}"):
            found = self._stack(stack)
        if found is None or found["StackStatus"] == "REVIEW_IN_PROGRESS":
            return None
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}

    def changes(self, stack: str, template: str, parameters: Mapping[str, str]) -> Sequence[Change]:
        """Return what a change set says, which is removed again."""
        made = self._change_set(stack, template, parameters)
        if made is None:
            return ()
        cloudformation = self._client("cloudformation")
        with translated(f"remove the change set of {stack}"):
            cloudformation.delete_change_set(StackName=self._name(stack), ChangeSetName=made["ChangeSetName"])
            if self.outputs(stack) is None:  # the change set had brought an empty stack along
                cloudformation.delete_stack(StackName=self._name(stack))
        return [_change(stack, one["ResourceChange"]) for one in made.get("Changes", []) if "ResourceChange" in one]

    def put_stack(self, stack: str, template: str, parameters: Mapping[str, str]) -> bool:
        """Make the stack what the template says, and wait for it."""
        self._settle(stack)
        made = self._change_set(stack, template, parameters)
        if made is None:
            return False
        with translated(f"change the stack {stack}"):
            self._client("cloudformation").execute_change_set(
                StackName=self._name(stack), ChangeSetName=made["ChangeSetName"]
            )
        self._finish(stack)
        return True

    def delete_stack(self, stack: str) -> None:
        """Delete the stack and wait until it is gone."""
        with translated(f"delete the stack {stack}"):
            found = self._stack(stack)
            if found is None:
                return
            self._client("cloudformation").delete_stack(StackName=found["StackId"])
            for status in self._statuses(stack):
                if status == "DELETE_FAILED":
                    raise DeployError(f"the stack {stack} cannot be deleted: {self._reason(stack)}")

    def _settle(self, stack: str) -> None:
        """Wait for what a killed deployment began, and remove what never came into being."""
        for status in self._statuses(stack):
            if status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"}:
                self.delete_stack(stack)
                return
            if status == "UPDATE_ROLLBACK_FAILED":
                raise DeployError(f"the stack {stack} is stuck: {self._reason(stack)}; continue its rollback by hand")
            if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
                return

    def _finish(self, stack: str) -> None:
        for status in self._statuses(stack):
            if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
                return
            if not status.endswith("_IN_PROGRESS"):
                raise DeployError(f"the stack {stack} is {status}: {self._reason(stack)}")
        raise DeployError(f"the stack {stack} is gone")

    def _statuses(self, stack: str) -> Iterator[str]:
        """Yield the status of a stack again and again, until it is gone or the time is over."""
        deadline = self._clock.monotonic() + _STACK_SECONDS
        while True:
            with translated(f"look at the stack {stack}"):
                found = self._stack(stack)
            if found is None:
                return
            yield str(found["StackStatus"])
            if self._clock.monotonic() > deadline:
                raise DeployError(
                    f"the stack {stack} was not done after {_STACK_SECONDS:.0f} s; look at it, and repeat"
                )
            self._clock.sleep(_POLL_SECONDS)

    def _stack(self, stack: str) -> dict[str, Any] | None:
        try:
            answer = self._client("cloudformation").describe_stacks(StackName=self._name(stack))
        except ClientError as e:
            if "does not exist" in str(e):
                return None
            raise
        found: dict[str, Any] = answer["Stacks"][0]
        return None if found["StackStatus"] == "DELETE_COMPLETE" else found

    def _change_set(self, stack: str, template: str, parameters: Mapping[str, str]) -> dict[str, Any] | None:
        """Make a change set and return its description; None when it would change nothing."""
        new = self.outputs(stack) is None
        # The same change has the same name, so that the one of a killed deployment is replaced, not joined by another.
        name = "trainyard-" + hashlib.sha256(json.dumps([template, dict(parameters)]).encode()).hexdigest()[:16]
        request: dict[str, Any] = {
            "StackName": self._name(stack),
            "ChangeSetName": name,
            "ChangeSetType": "CREATE" if new else "UPDATE",
            "TemplateBody": template,
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Tags": [
                {"Key": "trainyard:env", "Value": self._place.env},
                {"Key": "trainyard:project", "Value": "trainyard"},
            ],
        }
        if self._build_role is not None:
            request["RoleARN"] = self._build_role
        cloudformation = self._client("cloudformation")
        with translated(f"prepare the stack {stack}"):
            if not new:
                cloudformation.delete_change_set(StackName=self._name(stack), ChangeSetName=name)
            cloudformation.create_change_set(**request)
            found = self._described(stack, name)
            if found["Status"] != "FAILED":
                return found
            reason = str(found.get("StatusReason", ""))
            cloudformation.delete_change_set(StackName=self._name(stack), ChangeSetName=name)
        if any(words in reason for words in _NOTHING):
            return None
        raise DeployError(f"the stack {stack} cannot be prepared: {reason}")

    def _described(self, stack: str, name: str) -> dict[str, Any]:
        while True:
            found: dict[str, Any] = self._client("cloudformation").describe_change_set(
                StackName=self._name(stack), ChangeSetName=name
            )
            if not found["Status"].endswith(("PENDING", "IN_PROGRESS")):
                return found
            self._clock.sleep(_POLL_SECONDS / 5)

    def _reason(self, stack: str) -> str:
        """Return what went wrong first, in CloudFormation's words."""
        with translated(f"look at the stack {stack}"):
            events = self._client("cloudformation").describe_stack_events(StackName=self._name(stack))["StackEvents"]
        failed = [one for one in events if str(one.get("ResourceStatus", "")).endswith("_FAILED")]
        if not failed:
            return "CloudFormation gives no reason"
        first = failed[-1]
        return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', 'no reason given')}"

    def _name(self, stack: str) -> str:
        return f"trainyard-{self._place.env}-{stack}"

    # --- the control instance ---

    def release(self) -> str | None:
        """Return the release that the parameter names."""
        with translated("read the release"):
            try:
                answer = self._client("ssm").get_parameter(Name=self._release_parameter)
            except ClientError as e:
                if code_of(e) == "ParameterNotFound":
                    return None
                raise
        return str(answer["Parameter"]["Value"])

    def put_release(self, text: str) -> None:
        """Write the parameter."""
        with translated("write the release"):
            self._client("ssm").put_parameter(Name=self._release_parameter, Value=text, Type="String", Overwrite=True)

    def forget(self) -> None:
        """Delete the parameters; one that is not there is no error."""
        names = [self._release_parameter, key_parameter(self._place.env)]
        with translated("delete the release and the first key"):
            self._client("ssm").delete_parameters(Names=names)

    def control_answers(self) -> bool:
        """Tell whether the instance has reported to Systems Manager."""
        with translated("look for the control instance"):
            answer = self._client("ssm").describe_instance_information(
                Filters=[{"Key": "InstanceIds", "Values": [self._instance()]}]
            )
        return any(one["PingStatus"] == "Online" for one in answer["InstanceInformationList"])

    def command(self, step: str) -> None:
        """Send the one command that the environment has, and wait for its end."""
        ssm, instance = self._client("ssm"), self._instance()
        with translated(f"send {step} to the control instance"):
            sent = ssm.send_command(
                InstanceIds=[instance],
                DocumentName=f"trainyard-{self._place.env}-release",
                Parameters={"step": [step]},
            )["Command"]["CommandId"]
        deadline = self._clock.monotonic() + _COMMAND_SECONDS
        while True:
            with translated(f"wait for {step} on the control instance"):
                found = ssm.list_command_invocations(CommandId=sent, Details=True)["CommandInvocations"]
            status = found[0]["Status"] if found else "Pending"
            if status == "Success":
                return
            if status not in {"Pending", "InProgress", "Delayed"}:
                said = "".join(plugin.get("Output", "") for plugin in found[0].get("CommandPlugins", []))
                raise DeployError(f"{step} on the control instance ended with {status}: {said[-1_000:].strip()}")
            if self._clock.monotonic() > deadline:
                raise DeployError(f"{step} on the control instance was not done after {_COMMAND_SECONDS:.0f} s")
            self._clock.sleep(_POLL_SECONDS)

    def end_trainers(self) -> None:
        """End the environment's trainers again and again, until EC2 knows of none that has not ended."""
        deadline = self._clock.monotonic() + _COMMAND_SECONDS
        with translated("end the trainers"):
            while left := self._trainers():
                self._client("ec2").terminate_instances(InstanceIds=left)
                if self._clock.monotonic() > deadline:
                    raise DeployError(f"trainers had not ended after {_COMMAND_SECONDS:.0f} s: {', '.join(left)}")
                self._clock.sleep(_POLL_SECONDS)

    def _trainers(self) -> list[str]:
        alive = ["pending", "running", "stopping", "stopped", "shutting-down"]
        pages = (
            self._client("ec2")
            .get_paginator("describe_instances")
            .paginate(
                Filters=[
                    {"Name": f"tag:{ENV_TAG}", "Values": [self._place.env]},
                    {"Name": "tag-key", "Values": [LAUNCH_TAG]},
                    {"Name": "instance-state-name", "Values": alive},
                ]
            )
        )
        return [one["InstanceId"] for page in pages for found in page["Reservations"] for one in found["Instances"]]

    def _instance(self) -> str:
        return (self.outputs("services") or {}).get("Instance", "")

    @property
    def _release_parameter(self) -> str:
        return f"/trainyard/{self._place.env}/release"

    # --- functions ---

    def live(self, function: str) -> str | None:
        """Return the version that the alias `live` points to."""
        with translated(f"look at {function}"):
            try:
                return str(self._client("lambda").get_alias(FunctionName=function, Name="live")["FunctionVersion"])
            except ClientError as e:
                if code_of(e) == "ResourceNotFoundException":
                    return None
                raise

    def publish(self, function: str) -> str:
        """Publish a version; Lambda returns the newest one when code and settings are the same."""
        with translated(f"publish {function}"):
            return str(self._client("lambda").publish_version(FunctionName=function)["Version"])

    def invoke(self, function: str, version: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Invoke a version directly."""
        with translated(f"ask {function}"):
            client = self._client("lambda")
            client.get_waiter("published_version_active").wait(FunctionName=function, Qualifier=version)
            answer = client.invoke(FunctionName=function, Qualifier=version, Payload=json.dumps(event).encode())
            payload = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise DeployError(f"version {version} of {function} fails: {payload}")
        return dict(payload)


def _change(stack: str, raw: Mapping[str, Any]) -> Change:
    return Change(stack, raw["Action"], raw["LogicalResourceId"], raw["ResourceType"], raw.get("Replacement") == "True")


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn boto3's errors into ours: AWS refuses, or AWS does not answer."""
    try:
        yield
    except ClientError as e:
        words = f"cannot {action}: {code_of(e)}: {e.response.get('Error', {}).get('Message', '')}"
        raise (TransientError(words) if status_of(e) >= 500 else DeployError(words)) from e
    except BotoCoreError as e:
        raise TransientError(f"cannot {action}: {e}") from e
