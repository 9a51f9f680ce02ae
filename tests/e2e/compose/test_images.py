"""What is in the images: all that they import, nobody's password, and nothing that only builds or tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

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
#: of the environment that is ours, not of what the base image brings
_LIST_ALL = """
import importlib.metadata, re, sys
paths = [path for path in sys.path if path.startswith(("/opt/", "/var/task"))]
for found in importlib.metadata.distributions(path=paths):
    print(re.sub("[-_.]+", "-", found.name).lower() + "==" + found.version)
"""
#: where our Dockerfiles put things; what the base image has is its own
_OURS = ("/opt", "/var/task", "/var/lib/trainyard")
_STRANGERS = (
    r"-name 'test_*.py' -o -name conftest.py -o -type d \( -name tests -o -name test \)"
    r" -o -name gcc -o -name cc -o -name '*.whl'"
    r" -o -path '*-packages/*/testing' ! -path '*-packages/*/*/testing' ! -path '*/numpy/testing'"
)


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
    """No test and no helper of tests, no compiler, no wheel, no list of a package manager, no cache of pip or uv."""
    places = f"find {' '.join(_OURS)} {_STRANGERS} 2>/dev/null || true"
    leftovers = "ls -d /cache /root/.cache /wheels /src /tools /var/lib/apt/lists/*Packages* 2>/dev/null || true"
    assert _run(engine, image, ["sh", "-c", f"{places}; {leftovers}"]) == ""


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_what_its_bill_of_materials_lists(engine, image):
    """`make sbom` reads the lock file: what is installed stands there in this version, and nothing is missing."""
    installed = dict(line.split("==") for line in _run(engine, image, ["python", "-c", _LIST_ALL]).splitlines())
    lock = ROOT / "requirements" / f"{image}.txt"
    locked = set(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", lock.read_text(), re.MULTILINE))
    ours = {name for name in installed if name.startswith("trainyard")}
    assert ours
    assert {entry for entry in installed.items() if entry[0] not in ours} <= locked
    asked = re.findall(r"^([a-z0-9-]+)", lock.with_suffix(".in").read_text(), re.MULTILINE)
    assert {name for name in asked if not name.startswith("-")} <= set(installed)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is(engine, image):
    """Labels by the OCI's names, an ordinary user, and no secret in its variables."""
    config = engine.images.get(f"trainyard-{image}:dev").attrs["Config"]
    assert config["Labels"]["org.opencontainers.image.title"] == f"trainyard-{image}"
    assert config["Labels"]["org.opencontainers.image.version"]
    assert config["User"] == "65532:65532"
    assert not [entry for entry in config["Env"] if "PASSWORD" in entry or "SECRET" in entry]
