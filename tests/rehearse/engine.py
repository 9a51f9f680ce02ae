"""The rehearsal's corner of a Docker engine: a network, the emulator with the engine behind it, and machines.

Everything in it carries one label or the name of the network, and goes with :meth:`Corner.remove`.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import docker.errors

from trainyard.testing.processes import answers, wait_until
from trainyard_deploy.stacks import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EMULATOR = "ministackorg/ministack:latest"
POSTGRES = ("postgres:17", "postgres:17-alpine")
SERVICES = "s3,sqs,ec2,cloudformation,events,iam,logs,lambda,ssm,sns,cloudwatch,rds,ecr,secretsmanager,sts,budgets,imds"
_LOG_LINES = 60


class Corner:
    """One rehearsal on the engine; ``name`` is its network's, its label's value and the beginning of its images' names.

    Args:
        shared: a folder that machines and the engine see under the same path.
    """

    def __init__(self, name: str, shared: Path) -> None:
        self.name = name
        self.label = {"trainyard.rehearse": name}
        self.machine_image = f"{name}-machine"
        self.client = docker.from_env(timeout=120)
        self._shared = shared
        self._before = self._tags()
        self._ended: list[str] = []
        self.emulator: Any = None
        self.port = 0

    def start(self) -> None:
        """Make the network, the machine's image and the emulator, and wait until this answers."""
        program = shutil.which("docker")
        assert program is not None, "there is no command docker: make engine"
        self._build_machine(program)
        if not self.client.images.list(POSTGRES[1]):  # the emulator's name of what we have under another one
            self.client.images.get(POSTGRES[0]).tag(POSTGRES[1])
        self.client.networks.create(self.name, labels=self.label)
        self.emulator = self.client.containers.run(
            EMULATOR,
            name=f"{self.name}-aws",
            detach=True,
            user="0",
            network=self.name,
            labels=self.label,
            ports={"4566/tcp": ("127.0.0.1", None)},
            volumes={"/var/run/docker.sock": {"bind": "/var/run/docker.sock"}},
            environment={
                "BIND_HOST": "0.0.0.0",  # noqa: S104 - of its container
                "MINISTACK_HOST": f"{self.name}-aws",
                "AWS_ENDPOINT_URL": self.inner_endpoint,
                "SERVICES": SERVICES,
                "PERSIST_STATE": "0",
                "SFTP_ENABLED": "0",
                "IOT_MTLS_ENABLED": "0",
                "LAMBDA_DOCKER_NETWORK": self.name,
                "EC2_DOCKER_FLAGS": " ".join(self._flags(program)),
                # A command on an instance says nothing for as long as it works.
                "MINISTACK_DOCKER_TIMEOUT": "900",
                "LOG_LEVEL": "INFO",
            },
        )
        self.emulator.reload()
        self.port = int(self.emulator.ports["4566/tcp"][0]["HostPort"])
        wait_until(lambda: answers(f"{self.endpoint}/_ministack/health"), "the emulator", seconds=30)

    @property
    def endpoint(self) -> str:
        """The emulator's address for this process."""
        return f"http://{self.registry}"

    @property
    def registry(self) -> str:
        """The address at which the engine pushes to the emulator's registry, and pulls from it."""
        return f"127.0.0.1:{self.port}"

    @property
    def inner_endpoint(self) -> str:
        """The emulator's address for containers."""
        return f"http://{self.name}-aws:4566"

    # --- machines ---

    def start_machine(self, instance: str, kind: str, user_data: str) -> None:
        """Start a machine for an instance that the emulator has, and boot it."""
        program = shutil.which("docker") or ""
        flags = self._flags(program)
        subprocess.run(
            [
                *(program, "run", "-d", "--init", "--network", self.name, "--name", f"{self.name}-{instance}"),
                *("--label", f"trainyard.rehearse={self.name}", *flags, self.machine_image),
            ],
            check=True,
            capture_output=True,
        )
        self.boot(f"{self.name}-{instance}", instance, kind, user_data)

    def boot(self, container: str, instance: str, kind: str, user_data: str) -> None:
        """Lay down what a machine waits for: number and type of its instance, then its user data."""
        files = (("instance-id", instance), ("instance-type", kind), ("user-data", user_data), ("ready", ""))
        bundle = io.BytesIO()
        with tarfile.open(fileobj=bundle, mode="w") as archive:
            for name, text in files:
                entry = tarfile.TarInfo(name)
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        self.client.containers.get(container).put_archive("/", bundle.getvalue())

    def end_machine(self, instance: str) -> None:
        """Remove a machine and what it has started beside it; what these have written stays for :meth:`logs`."""
        for container in self._containers(instance):
            self._ended.append(_said(container))
            _remove(container)

    def machines(self, instance: str) -> list[str]:
        """Return the names of an instance's containers."""
        return [str(container.name) for container in self._containers(instance)]

    def published(self, container: str, port: int) -> int:
        """Return the port of this machine's loopback that leads to a container's."""
        found = self.client.containers.get(container)
        return int(found.ports[f"{port}/tcp"][0]["HostPort"])

    # --- the end ---

    def logs(self) -> Iterator[str]:
        """Yield the last lines of every container, for whoever has to find out what went wrong."""
        yield from self._ended
        yield from map(_said, self._containers(""))

    def remove(self) -> None:
        """Remove containers, the network, and the names of images that this rehearsal has brought."""
        if self.emulator is not None:
            _remove(self.emulator)  # first: it starts others
        for container in self._containers(""):
            _remove(container)
        for network in self.client.networks.list(names=[self.name]):
            network.remove()
        brought = {POSTGRES[1], f"{self.machine_image}:latest", *(f"trainyard-{service}:latest" for service in IMAGES)}
        for tag in self._tags() - self._before:
            if tag in brought or tag.startswith(f"{self.registry}/"):
                self.client.images.remove(tag)
        self.client.close()

    def _containers(self, part: str) -> list[Any]:
        """Return the containers with ``part`` in their names: those in the network, and those of the label."""
        found = self.client.containers.list(
            all=True, ignore_removed=True, filters={"label": f"trainyard.rehearse={self.name}"}
        )
        found += self.client.containers.list(all=True, ignore_removed=True, filters={"network": self.name})
        return [one for one in {one.id: one for one in found}.values() if part in one.name]

    def _tags(self) -> set[str]:
        return {tag for image in self.client.images.list() for tag in image.tags}

    def _build_machine(self, program: str) -> None:
        folder = ROOT / "tests/rehearse/machine"
        context = self._shared / "machine"
        shutil.copytree(folder, context)
        shutil.copy(ROOT / "requirements/awscli.txt", context)
        subprocess.run([program, "build", "--quiet", "-t", self.machine_image, str(context)], check=True)

    def _flags(self, program: str) -> list[str]:
        """Return what `docker run` gives a machine: the engine, a folder that the engine sees too, and where AWS is."""
        given = {
            "AWS_ENDPOINT_URL": self.inner_endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "LABEL": self.name,
            "NETWORK": self.name,
            "SHARED": str(self._shared),
        }
        mounts = (
            "/var/run/docker.sock:/var/run/docker.sock",
            f"{program}:/usr/local/libexec/docker:ro",
            f"{self._shared}:{self._shared}",
        )
        return [word for name, value in given.items() for word in ("-e", f"{name}={value}")] + [
            word for mount in mounts for word in ("-v", mount)
        ]


def _remove(container: Any) -> None:
    """Remove a container with its volumes; one that goes by itself just now is no error."""
    try:
        container.remove(force=True, v=True)
    except docker.errors.APIError as e:
        if e.status_code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise


def _said(container: Any) -> str:
    said = container.logs(tail=_LOG_LINES).decode(errors="replace")
    return f"--- {container.name} ({container.status})\n{said}"
