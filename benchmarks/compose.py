"""How soon the stack of containers is there: ``python -m benchmarks.compose``; exit code 1 beyond a limit.

A stack of its own, on free ports, removed at the end: the first ``up`` with its images there, a second one after
``down``, and the demo on containers. ``--from-nothing`` removes the base images, ours and what the builder keeps
before, and times all that a clean clone needs as well; where images were pulled, they are removed like the others.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.images import IMAGES
from trainyard.testing.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[1]
MOST_FROM_NOTHING_SECONDS = 12 * 60
MOST_AGAIN_SECONDS = 40
MOST_DEMO_SECONDS = 3 * 60
_PORTS = ("ROUTER", "AWS", "POSTGRES", "LAMBDA", "PROMETHEUS")
_UP = ("docker", "compose", "up", "--wait")
_DOWN = ("docker", "compose", "down")


class Table:
    """Times commands and prints one row for each, with the load that this machine had at its end."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.beyond = False
        print("| what | seconds | limit | load | command |\n|---|---|---|---|---|")

    def timed(self, what: str, *commands: Sequence[str], most: int | None = None) -> float:
        """Run the commands, print how long they took together, and return it."""
        began = time.monotonic()
        for command in commands:
            self.quietly(*command)
        seconds = time.monotonic() - began
        self.row(what, seconds, most, " && ".join(" ".join(command) for command in commands))
        return seconds

    def row(self, what: str, seconds: float, most: int | None, command: str) -> None:
        """Print one row; remember whether it is beyond its limit."""
        self.beyond |= most is not None and seconds > most
        limit = "–" if most is None else most
        print(f"| {what} | {seconds:.1f} | {limit} | {os.getloadavg()[0]:.1f} | `{command}` |", flush=True)

    def quietly(self, *command: str) -> None:
        """Run a command in the repository's root; show what it wrote only when it fails.

        Raises:
            RuntimeError: it failed.
        """
        program = shutil.which(command[0])
        if program is None:
            raise RuntimeError(f"there is no {command[0]}; `make engine` brings Docker")
        done = subprocess.run(
            [program, *command[1:]], cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def remove_images(run: Callable[..., None]) -> None:
    """Remove every image that the stack consists of, and the builder's cache."""
    bases = subprocess.run([ROOT / "deploy/offline/build.sh", "--list"], capture_output=True, text=True, check=True)
    wanted = {*bases.stdout.split(), *(f"trainyard-{image.service}:dev" for image in IMAGES)}
    listed = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    there = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    if found := sorted(wanted & set(there)):
        run("docker", "image", "rm", "--force", *found)
    run("docker", "builder", "prune", "--all", "--force")


def main(words: Sequence[str]) -> int:
    """Print the table; return 1 when something took longer than its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compose", description=__doc__)
    parser.add_argument("--from-nothing", action="store_true", help="remove all images first, and build them again")
    asked = parser.parse_args(words)
    ports = zip(_PORTS, free_ports(len(_PORTS)), strict=True)
    own = {"COMPOSE_PROJECT_NAME": "trainyard-bench", **{f"TRAINYARD_{name}_PORT": str(port) for name, port in ports}}
    table = Table({**os.environ, **own})
    try:
        built = 0.0
        table.quietly(*_DOWN, "--volumes")
        if asked.from_nothing:
            remove_images(table.quietly)
            built += table.timed("base images from nothing", ("make", "offline-images"))
            built += table.timed("service images upon them", ("make", "images"))
        first = table.timed("first `up`, images there", _UP)
        if asked.from_nothing:
            table.row("all three together", built + first, MOST_FROM_NOTHING_SECONDS, "make offline-images up")
        table.quietly(*_DOWN)
        table.timed("again after `down`", _UP, most=MOST_AGAIN_SECONDS)
    finally:
        table.quietly(*_DOWN, "--volumes")
    table.timed("the demo, its stack's start and end included", ("make", "demo-docker"), most=MOST_DEMO_SECONDS)
    return int(table.beyond)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
