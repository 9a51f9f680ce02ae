"""The stack as containers, one for the whole session: its own project name, its own ports, quick settings.

Where no Docker engine answers these tests fail; `make engine` brings one.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import docker
import pytest
import requests
from stack import Running
from testcontainers.compose import DockerCompose

from trainyard.testing.processes import free_ports

ROOT = Path(__file__).parents[3]
PROJECT = "trainyard-test"
PORTS = ("ROUTER", "AWS", "POSTGRES", "LAMBDA", "PROMETHEUS")
QUICK = {
    "TRAINYARD_LANDING_SWEEP_SECONDS": "2",
    "TRAINYARD_POLICY_TICK_SECONDS": "1",
    "TRAINYARD_LEASE_SECONDS": "15",
    "TRAINYARD_RESEND_SECONDS": "6",
    "TRAINYARD_IDLE_SECONDS": "5",
}


class Containers(Running):
    """The stack of docker-compose.yml, with the images that are there."""

    patience = 4

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        settings = {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_PROFILES": "localstack,prometheus",
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
        found = docker.from_env().containers.list(all=True, filters={"label": f"{label}.project={PROJECT}"})
        return {container.labels[f"{label}.service"]: container for container in found}

    def logs(self) -> str:
        """Return the end of what every container has written, and every trainer of the EC2 host."""
        trainers = ["exec", "-T", "ec2-host", "sh", "-c", "tail -n 20 /var/lib/trainyard/logs/*.log"]
        ends = [self._done(*words) for words in (("logs", "--no-color", "--tail", "40"), trainers)]
        return "".join(end.stdout + end.stderr for end in ends)  # a container that is down is part of the story

    def _done(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.compose.docker_compose_command(), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The running stack that all tests of this folder share; each uses a dataset of its own."""
    assert shutil.which("docker"), "these tests need a Docker engine; `make engine` brings one"
    running = Containers(tmp_path_factory.mktemp("compose"))
    running.stop()  # what an interrupted run left
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show the containers' logs beside a test that failed on them."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and report.when == "call" and running is not None:
        report.sections.append(("containers", running.logs()))
    return report
