"""What a deployment needs from outside: CloudFormation and what runs in it, and images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from trainyard.errors import TrainyardError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class DeployError(TrainyardError):
    """A deployment cannot go on; the message says why and what helps."""


@dataclass(frozen=True)
class Change:
    """What a change set would do to one resource."""

    stack: str
    action: str
    resource: str
    kind: str
    replaces: bool = False


class Cloud(Protocol):
    """One environment in one account and region. Every method may be repeated after a kill at any point of it.

    Raises, each of them: DeployError when AWS refuses, TransientError when it does not answer.
    """

    def parts(self) -> Sequence[str]:
        """Return the parts that have a stack in this environment in the order of their names; half-made ones too."""
        ...

    def outputs(self, stack: str) -> Mapping[str, str] | None:
        """Return the outputs of a stack; None when there is no such stack."""
        ...

    def parameters(self, stack: str) -> Mapping[str, str] | None:
        """Return what a stack was made with; None when there is no such stack."""
        ...

    def changes(self, stack: str, template: str, parameters: Mapping[str, str]) -> Sequence[Change]:
        """Return what :meth:`put_stack` would do, without doing it."""
        ...

    def put_stack(self, stack: str, template: str, parameters: Mapping[str, str]) -> bool:
        """Make the stack what the template says, and wait for it; return whether anything changed."""
        ...

    def delete_stack(self, stack: str) -> None:
        """Delete the stack and wait for it; one that is not there is no error."""
        ...

    def release(self) -> str | None:
        """Return the release that the control instance runs, or None."""
        ...

    def put_release(self, text: str) -> None:
        """Set the release that the control instance runs when it is told to."""
        ...

    def forget(self) -> None:
        """Remove what was kept for the control instance: the release, and the first key."""
        ...

    def control_answers(self) -> bool:
        """Tell whether the control instance takes commands."""
        ...

    def command(self, step: str) -> None:
        """Have the control instance do ``migrate`` or ``run``, and wait for its end."""
        ...

    def end_trainers(self) -> None:
        """End every instance of the fleet, and wait until none is left."""
        ...

    def live(self, function: str) -> str | None:
        """Return the version of a function that its alias `live` points to, or None."""
        ...

    def publish(self, function: str) -> str:
        """Return the version of the function's code, which is made if it has none."""
        ...

    def invoke(self, function: str, version: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a version's answer to an event."""
        ...


class Images(Protocol):
    """Builds images, and puts them into the account's registry."""

    def build(self, service: str) -> None:
        """Build the image of a service."""
        ...

    def push(self, service: str, repository: str) -> str:
        """Push the image that was built, and return its digest, ``sha256:…``."""
        ...


class SmokeTest(Protocol):
    """Rows in, a model, a prediction, through the front doors of an environment."""

    def run(self) -> None:
        """Do it; raises DeployError with what went wrong."""
        ...
