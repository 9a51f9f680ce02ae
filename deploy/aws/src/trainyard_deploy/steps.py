"""The steps of `apply` and `destroy`, in their order, over what a deployment needs from outside."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from trainyard_deploy.engine import Step
from trainyard_deploy.ports import Change, DeployError
from trainyard_deploy.stacks import IMAGES, Image, Output, Released, stacks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.clock import Clock
    from trainyard_deploy.choices import Choices
    from trainyard_deploy.engine import Record
    from trainyard_deploy.ports import Cloud, Images, SmokeTest
    from trainyard_deploy.stacks import Place, Source, Stack

_CONTROL_SECONDS = 600.0
_POLL_SECONDS = 5.0
_HEALTH = {"path": "/healthz", "method": "GET"}


@dataclass(frozen=True)
class Outside:
    """What the steps work with."""

    cloud: Cloud
    images: Images
    smoke: SmokeTest
    clock: Clock


class Deployment:
    """One environment: its steps, how to take them back, what they would change."""

    def __init__(self, place: Place, choices: Choices, outside: Outside) -> None:
        self._place = place
        self._stacks = stacks(place, choices)
        self._choices = choices
        self._out = outside

    # --- what it is a deployment of ---

    def inputs(self, source: str) -> str:
        """Return a hash of everything that a deployment is made of; ``source`` stands for the images' sources."""
        parts = [source, asdict(self._choices), asdict(self._place), {s.part: s.text for s in self._stacks.values()}]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=list).encode()).hexdigest()

    def before(self) -> dict[str, Any]:
        """Return what is live: the release of the services, and the version of each function."""
        functions = [self._function(stack) for stack in self._predictors()]
        return {
            "release": self._out.cloud.release(),
            "versions": {function: self._out.cloud.live(function) for function in functions},
        }

    # --- apply ---

    def steps(self) -> list[Step]:
        """Return the steps of `apply`."""
        stack = self._stack_step
        return [
            *(stack(part) for part in ("network", "queues", "storage", "registry")),
            *(self._image_step(service) for service in IMAGES),
            *(stack(part) for part in ("database", "roles", "services")),
            Step("control", "wait until the control instance takes commands", lambda _: self._await_control()),
            Step("migrate", "bring the database to the newest revision, make the first keys", self._migrate),
            stack("fleet"),
            *(stack(one.part) for one in self._predictors()),
            *(self._publish_step(one) for one in self._predictors()),
            Step("run", "replace the services by those of this release", self._run_services, reaches_people=True),
            *(self._move_step(one) for one in self._predictors()),
            stack("alarms"),
            Step("smoke", "rows in, a model, a prediction", lambda _: self._out.smoke.run()),
            Step(
                "retire",
                "delete the functions of models that are to have none of their own any more",
                lambda _: self._retire(),
                behind_the_release=True,
            ),
        ]

    def roll_back(self, record: Record) -> None:
        """Bring back what was live before; where there was nothing, the new release stays, for somebody to look at."""
        if record.before.get("release") is not None:
            self._out.cloud.put_release(record.before["release"])
            self._out.cloud.command("run")
        for stack in self._predictors():
            if record.before.get("versions", {}).get(self._function(stack)) is not None:
                self._put(stack, record, version=record.before["versions"][self._function(stack)])

    def preview(self, record: Record | None) -> Iterator[Change]:
        """Yield what would change; a stack whose parameters another one has to give first is new as a whole."""
        for stack in self._stacks.values():
            parameters = {name: self._known(source, record) for name, source in stack.parameters.items()}
            yield from self._out.cloud.changes(stack.part, stack.text, parameters)
        for part in self._left_over():
            yield Change(part, "Remove", "the whole stack", "AWS::CloudFormation::Stack")

    def _known(self, source: Source, record: Record | None) -> str:
        """Return a parameter for a preview: what is not known yet stands in angle brackets."""
        match source:
            case Output(part, name):
                return (self._out.cloud.outputs(part) or {}).get(name, f"<{part}.{name}>")
            case Image(service):
                return self._uri(service, record.digests.get(service, "<new>") if record else "<new>")
            case Released(function):
                return self._out.cloud.live(function) or ""
        return source

    def _stack_step(self, part: str) -> Step:
        stack = self._stacks[part]
        return Step(f"stack {part}", f"make the stack {part} what its template says", partial(self._put, stack))

    def _put(self, stack: Stack, record: Record, *, version: str | None = None) -> None:
        parameters = {name: self._value(source, record) for name, source in stack.parameters.items()}
        if version is not None:
            parameters["ReleaseVersion"] = version
        self._out.cloud.put_stack(stack.part, stack.text, parameters)

    def _value(self, source: Source, record: Record) -> str:
        match source:
            case Output(part, name):
                outputs = self._out.cloud.outputs(part)
                if outputs is None or name not in outputs:
                    raise DeployError(
                        f"the stack {part} has no output {name}; was it deleted? Repeat from the beginning"
                    )
                return outputs[name]
            case Image(service):
                return self._uri(service, record.digests[service])
            case Released(function):
                return self._out.cloud.live(function) or ""
        return source

    def _image_step(self, service: str) -> Step:
        def build_and_push(record: Record) -> None:
            self._out.images.build(service)
            record.digests[service] = self._out.images.push(service, self._repository(service))

        return Step(f"image {service}", f"build the image of {service} and push it", build_and_push)

    def _await_control(self) -> None:
        deadline = self._out.clock.monotonic() + _CONTROL_SECONDS
        while not self._out.cloud.control_answers():
            if self._out.clock.monotonic() > deadline:
                raise DeployError(
                    f"the control instance took no command within {_CONTROL_SECONDS:.0f} s; look at its console output"
                )
            self._out.clock.sleep(_POLL_SECONDS)

    def _migrate(self, record: Record) -> None:
        # The migration's image is named by the release; services go on with theirs until they are told to run.
        self._out.cloud.put_release(self._release(record))
        self._out.cloud.command("migrate")

    def _run_services(self, record: Record) -> None:
        self._out.cloud.put_release(self._release(record))
        self._out.cloud.command("run")

    def _publish_step(self, stack: Stack) -> Step:
        function = self._function(stack)

        def publish(record: Record) -> None:
            version = self._out.cloud.publish(function)
            answer = self._out.cloud.invoke(function, version, _HEALTH)
            if answer.get("statusCode") != 200:
                raise DeployError(f"version {version} of {function} is not healthy: {answer}")
            record.versions[function] = version

        return Step(f"publish {stack.part}", f"publish a version of {function} and ask it how it is", publish)

    def _move_step(self, stack: Stack) -> Step:
        function = self._function(stack)

        def move(record: Record) -> None:
            self._put(stack, record, version=record.versions[function])

        return Step(
            f"move {stack.part}", f"point the alias live of {function} at the new version", move, reaches_people=True
        )

    # --- destroy ---

    def destroy_steps(self, *, data_too: bool) -> list[Step]:
        """Return the steps of `destroy`: bucket and a snapshot of Postgres stay unless ``data_too``.

        Functions of models go whether the choices know them or not.
        """
        # Who launches trainers goes first, and trainers before the network that they are in.
        parts = [part for part in (*self._left_over(), *reversed(self._stacks)) if part != "services"]
        return [
            self._delete_step("services"),
            Step("end trainers", "end the instances that train", lambda _: self._out.cloud.end_trainers()),
            Step("unprotect", "let Postgres be deleted", lambda _: self._unprotect()),
            *(self._delete_step(part) for part in parts if part != "storage" or data_too),
            Step("forget", "remove the release and the first key", lambda _: self._out.cloud.forget()),
        ]

    def _unprotect(self) -> None:
        """Change that one parameter: whoever destroys may have other choices than whoever made it, or none."""
        given = self._out.cloud.parameters("database")
        if given and self._out.cloud.outputs(
            "database"
        ):  # what was never made has no outputs, and must not be made now
            text = self._stacks["database"].text
            self._out.cloud.put_stack("database", text, {**given, "DeletionProtection": "false"})

    def _delete_step(self, part: str) -> Step:
        return Step(f"delete {part}", f"delete the stack {part}", lambda _: self._out.cloud.delete_stack(part))

    def _left_over(self) -> list[str]:
        """Return the predictors that are there and are not chosen."""
        return [part for part in self._out.cloud.parts() if part.startswith("predictor-") and part not in self._stacks]

    def _retire(self) -> None:
        for part in self._left_over():
            self._out.cloud.delete_stack(part)

    # --- names ---

    def _predictors(self) -> list[Stack]:
        return [stack for stack in self._stacks.values() if stack.template == "predictor"]

    def _function(self, stack: Stack) -> str:
        return self._place.function_of(str(stack.parameters["Model"]))

    def _repository(self, service: str) -> str:
        return f"{self._place.registry}/trainyard-{self._place.env}/{service}"

    def _uri(self, service: str, digest: str) -> str:
        return f"{self._repository(service)}@{digest}"

    def _release(self, record: Record) -> str:
        return "".join(f"{service}={self._uri(service, record.digests[service])}\n" for service in IMAGES)
