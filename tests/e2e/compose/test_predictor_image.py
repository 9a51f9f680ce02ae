"""The predictor's image is small, and answers as an ordinary user on a file system that cannot be written to."""

from __future__ import annotations

import pytest

from trainyard.testing.processes import wait_until

_IMAGE, _BASE = "trainyard-predictor:dev", "public.ecr.aws/lambda/python:3.13"
#: What it may add to its base, unpacked.
_MOST_BYTES = 130 * 1000 * 1000
_NOBODY_THERE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
}
_ASK = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=5).status)"
_WRITE = "import os\nfor folder in ('/', '/opt', '/var/task'): print(os.access(folder, os.W_OK))"


@pytest.fixture
def container(engine):
    """Plain HTTP without a network and without rights."""
    running = engine.containers.run(
        _IMAGE,
        ["http"],
        detach=True,
        read_only=True,
        tmpfs={"/tmp": ""},  # noqa: S108 - the only place that it may write to
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        network_mode="none",
        environment=_NOBODY_THERE,
    )
    yield running
    running.remove(force=True)


def test_it_adds_little_to_its_base(engine):
    """All that is above the base image, unpacked."""
    image, base = (engine.images.get(name).attrs for name in (_IMAGE, _BASE))
    below = base["RootFS"]["Layers"]
    assert image["RootFS"]["Layers"][: len(below)] == below
    assert 0 < image["Size"] - base["Size"] < _MOST_BYTES


def test_it_answers_without_rights(container):
    """It is nobody special, can write nowhere but in memory, and answers."""

    def said(code: str) -> str:
        return container.exec_run(["python", "-c", code]).output.decode().strip()

    wait_until(lambda: said(_ASK) == "200", "an answer", seconds=60)
    assert said("import os; print(os.getuid(), os.getgid())") == "65532 65532"
    assert said(_WRITE).split() == ["False"] * 3
