"""The stack as containers, for a test: its own project name, its own ports, quick settings."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from stack import Running
from testcontainers.compose import DockerCompose

from trainyard.testing.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

ROOT = Path(__file__).parents[2]
PROJECT = "trainyard-test"
PORTS = ("ROUTER", "AWS", "POSTGRES", "LAMBDA", "PROMETHEUS")
QUICK = {
    "TRAINYARD_LANDING_SWEEP_SECONDS": "2",
    "TRAINYARD_POLICY_TICK_SECONDS": "1",
    # Where many processes share two cores a worker may not come to its beat for 15 s; the next one would take its run.
    "TRAINYARD_LEASE_SECONDS": "30",
    "TRAINYARD_RESEND_SECONDS": "6",
    "TRAINYARD_IDLE_SECONDS": "5",
}


class Containers(Running):
    """The stack of docker-compose.yml on one of its emulators of AWS, with the images that are there."""

    patience = 4

    def __init__(self, engine: docker.DockerClient, folder: Path, *, emulator: str) -> None:
        self._engine = engine
        self._project = f"{PROJECT}-{emulator}"
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        settings = {
            "COMPOSE_PROJECT_NAME": self._project,
            "COMPOSE_PROFILES": f"{emulator},prometheus",
            **QUICK,
            **{f"TRAINYARD_{name}_PORT": str(port) for name, port in self.ports.items()},
        }
        env_file = folder / "compose.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self.compose = DockerCompose(ROOT, env_file=str(env_file), wait=True)

    def start(self) -> None:
        """Start every container and wait until all are healthy."""
        self.compose.start()
        self.ready = {
            "url": f"http://127.0.0.1:{self.ports['ROUTER']}",
            "aws_endpoint_url": f"http://127.0.0.1:{self.ports['AWS']}",
            "bucket": "trainyard",
        }
        key, _, _ = self.compose.exec_in_container(["cat", "/secrets/admin/key"], "scheduler")
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key.strip()}"

    def stop(self) -> None:
        """Remove the containers and their volumes."""
        self.compose.stop()

    def kill_child(self, name: str) -> None:
        """SIGKILL a service's container, start it again, and wait until the stack is healthy."""
        self.run("kill", "--signal", "KILL", name)
        self.compose.start()

    def run(self, *arguments: str) -> str:
        """Run a command of compose on this stack; return what it prints."""
        done = self._done(*arguments)
        done.check_returncode()
        return done.stdout

    def containers(self) -> dict[str, docker.models.containers.Container]:
        """Return the containers by service, those that ran once included."""
        label = "com.docker.compose"
        found = self._engine.containers.list(all=True, filters={"label": f"{label}.project={self._project}"})
        return {container.labels[f"{label}.service"]: container for container in found}

    def logs(self) -> str:
        """Return how every container is, the end of what it has written, and that of every trainer of the EC2 host."""
        trainers = ("exec", "-T", "ec2-host", "sh", "-c", "tail -n 20 /var/lib/trainyard/logs/*.log")
        commands = (("ps", "--all"), ("logs", "--no-color", "--tail", "40"), trainers)
        ends = [self._done(*words) for words in commands]
        return "".join(end.stdout + end.stderr for end in ends)  # a container that is down is part of the story

    def _done(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.compose.docker_compose_command(), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@contextmanager
def containers(engine: docker.DockerClient, folder: Path, *, emulator: str) -> Iterator[Containers]:
    """Have a stack that runs, and remove it with its volumes."""
    running = Containers(engine, folder, emulator=emulator)
    running.stop()  # what an interrupted run left
    try:
        try:
            running.start()
        except subprocess.CalledProcessError as e:
            sys.stdout.write(running.logs())  # shown beside the first test that asked for the stack
            pytest.fail(f"the stack does not start: {e.stderr.decode()[-2000:]}", pytrace=False)
        yield running
    finally:
        running.stop()
