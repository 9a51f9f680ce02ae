"""One stack of containers for the whole session.

Where no Docker engine answers these tests fail, and say so; `make engine` brings one. What the containers wrote stands
beside every test that failed on them.
"""

from __future__ import annotations

import shutil
import subprocess

import docker
import pytest
from containers import containers


@pytest.fixture(scope="session")
def engine():
    """The Docker engine of this machine."""
    program = shutil.which("docker")
    asked = program and subprocess.run([program, "info"], capture_output=True, text=True, check=False)
    if not asked or asked.returncode:
        said = asked.stderr.strip() if asked else "there is no docker command"
        pytest.fail(f"these tests need a Docker engine, which `make engine` brings and starts: {said}", pytrace=False)
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def stack(engine, tmp_path_factory):
    """The running stack that all tests of this folder share; each uses a dataset of its own."""
    with containers(engine, tmp_path_factory.mktemp("compose"), emulator="localstack") as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show the containers' logs beside a test that failed on them."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and report.when == "call" and running is not None:
        report.sections.append(("containers", running.logs()))
    return report
