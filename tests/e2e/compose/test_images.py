"""What is in the images: all that they import, nobody's password, and nothing that only builds or tests."""

from __future__ import annotations

import docker
import pytest

IMAGES = {
    "ingest": ("trainyard_ingest",),
    "scheduler": ("trainyard_scheduler",),
    "trainer": ("trainyard_trainer", "trainyard_ec2host"),
    "predictor": ("trainyard_predictor",),
    "console": ("trainyard_console",),
    "setup": ("trainyard_setup",),
}
_IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""
#: where our Dockerfiles put things; what the base image has is its own
_OURS = ("/opt", "/var/task", "/var/lib/trainyard")
_STRANGERS = r"-name tests -type d -o -name gcc -o -name cc -o -path '*/trainyard/testing' -o -name '*.whl'"


@pytest.fixture(scope="module")
def engine():
    """The Docker engine."""
    return docker.from_env()


def _run(engine, image: str, command: list[str]) -> str:
    return engine.containers.run(
        f"trainyard-{image}:dev", command[1:], entrypoint=command[0], remove=True, read_only=True, network_mode="none"
    ).decode()


@pytest.mark.parametrize("image", IMAGES)
def test_every_module_can_be_imported(engine, image):
    """Without a network, and with the locked packages of this image alone."""
    assert _run(engine, image, ["python", "-c", _IMPORT_ALL, *IMAGES[image]]) == ""


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_nothing_that_only_builds_or_tests(engine, image):
    """No folder of tests, no compiler, no wheel, no list of a package manager, and no cache of pip or uv."""
    places = f"find {' '.join(_OURS)} {_STRANGERS} 2>/dev/null || true"
    leftovers = "ls -d /cache /root/.cache /wheels /src /tools /var/lib/apt/lists/*Packages* 2>/dev/null || true"
    assert _run(engine, image, ["sh", "-c", f"{places}; {leftovers}"]) == ""


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is(engine, image):
    """Labels by the OCI's names, an ordinary user, and no secret in its variables."""
    config = engine.images.get(f"trainyard-{image}:dev").attrs["Config"]
    assert config["Labels"]["org.opencontainers.image.title"] == f"trainyard-{image}"
    assert config["Labels"]["org.opencontainers.image.version"]
    assert config["User"] == "65532:65532"
    assert not [entry for entry in config["Env"] if "PASSWORD" in entry or "SECRET" in entry]
