"""docs/compose.md names what docker-compose.yml starts: containers, images, ports and the variables that it takes."""

import re
from pathlib import Path

import yaml

from trainyard.config import SETTINGS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
PAGE = (ROOT / "docs/compose.md").read_text()


def _table() -> dict[str, tuple[str, str]]:
    """Return image and port by container, as the page has them."""
    part = PAGE.split("## What runs", 1)[1].split("\n## ", 1)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")
    ]
    return {name: (image, port) for names, image, port, _ in rows for name in re.findall(r"`([\w-]+)`", names)}


def test_every_container_is_named_with_its_image():
    """No container more and none less; the tag of our own images is left out."""
    images = {name: re.sub(r":\$.*", "", about["image"]) for name, about in SERVICES.items()}
    assert {name: image.strip("`") for name, (image, _) in _table().items()} == images


def test_every_port_is_named_with_its_variable():
    """What is published on the loopback, and by which variable it becomes another one."""
    published = {
        name: re.findall(r"127\.0\.0\.1:\$\{(\w+):-(\d+)\}", " ".join(about.get("ports", ())))
        for name, about in SERVICES.items()
    }
    assert {name: re.findall(r"(\d+) `(\w+)`", port) for name, (_, port) in _table().items()} == {
        name: [(port, variable) for variable, port in found] for name, found in published.items()
    }


def test_ports_are_those_of_the_settings():
    """A service answers at the port that it has without containers, where it has one."""
    defaults = {setting.variable: setting.default for setting in SETTINGS}
    for variable, port in re.findall(r"\$\{(TRAINYARD_\w+_PORT):-(\d+)\}", TEXT):
        assert defaults.get(variable, port) == port


def test_every_variable_that_it_takes_is_named():
    """From the environment of `docker compose`, those of the build aside; TRAINYARD may be left out."""
    taken = set(re.findall(r"\$\{(\w+)", TEXT)) - {"TRAINYARD_VERSION", "TRAINYARD_REVISION"}
    named = set(re.findall(r"`([A-Z]\w+|_[A-Z]\w+)`", PAGE))
    assert {name for name in taken if name not in named and name.removeprefix("TRAINYARD") not in named} == set()
