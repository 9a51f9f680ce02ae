"""What an image holds is what its packages declare, in the versions that everything else is tested with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMON = tomllib.loads((ROOT / "libs/common/pyproject.toml").read_text())["project"]
#: each image's lock file, and the packages of ours in it beside `trainyard`
IMAGES = {
    "ingest": ("services/ingest",),
    "scheduler": ("services/scheduler",),
    "trainer": ("services/trainer", "deploy/ec2host"),
    "console": ("services/console",),
    "setup": ("deploy/setup",),
    "predictor": ("services/predictor",),
}


def _name(requirement: str) -> str:
    return re.split(r"[\s<>=\[;]", requirement, maxsplit=1)[0].lower()


def _wanted(lock: str) -> set[str]:
    lines = (ROOT / f"requirements/{lock}.in").read_text().splitlines()
    return {_name(line) for line in lines if line and line[0] not in "#-"}


def _locked(lock: str) -> set[str]:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    return set(re.findall(r"^([a-z0-9.-]+==[^ ;\\]+)", text, re.MULTILINE))


def _declared(packages: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """Return what the packages themselves ask for, and that with what they may use of `trainyard`'s."""
    asked = [
        d for p in packages for d in tomllib.loads((ROOT / p / "pyproject.toml").read_text())["project"]["dependencies"]
    ]
    own = {_name(requirement) for requirement in asked if not requirement.startswith("trainyard")}
    extras = {extra for d in asked if d.startswith("trainyard[") for extra in re.findall(r"\w+", d.partition("[")[2])}
    shared = [*COMMON["dependencies"], *(r for extra in extras for r in COMMON["optional-dependencies"][extra])]
    return own, own | {_name(requirement) for requirement in shared}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_what_its_packages_declare(image: str) -> None:
    """All that the service asks for itself, and nothing that nobody declared."""
    own, allowed = _declared(IMAGES[image])
    wanted = _wanted(image)
    assert own <= wanted
    # Lambda's client belongs to the runtime, not to the package.
    assert wanted <= allowed | {"awslambdaric"}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_the_versions_that_are_tested(image: str) -> None:
    """Every pinned version is one of those in runtime.txt, but for Lambda's client, which is that of the base image."""
    assert _locked(image) - _locked("awslambdaric") <= _locked("runtime")
