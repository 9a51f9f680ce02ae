"""What our images weigh and how soon they start: ``python -m benchmarks.images``; exit code 1 beyond a limit.

The size is that of the layers beyond the base image, compressed as a registry stores them. The start is the time from
``docker run`` to the first answer to ``/healthz``, without a database and without AWS: the least of three.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO

MOST_START_SECONDS = 2.0
_STARTS = 3
_PATIENCE_SECONDS = 30.0
_BLOCK = 1 << 20
_PYTHON, _LAMBDA = "python:3.13-slim", "public.ecr.aws/lambda/python:3.13"


@dataclass(frozen=True)
class Image:
    """One of our images; ``port`` is where it answers, None when it serves nothing."""

    service: str
    base: str
    most_mb: int | None
    port: int | None
    command: tuple[str, ...] = ()


IMAGES = (
    Image("predictor", _LAMBDA, 90, 8080, ("http",)),
    Image("ingest", _PYTHON, 120, 8081),
    Image("scheduler", _PYTHON, 120, 8082),
    Image("console", _PYTHON, 120, 8084),
    Image("trainer", _PYTHON, None, None),
    Image("setup", _PYTHON, None, None),
)


def layers(image: str) -> list[str]:
    """Return the digests of an image's layers, the lowest first."""
    found: list[str] = json.loads(_docker("image", "inspect", image))[0]["RootFS"]["Layers"]
    return found


def megabytes(image: str, base: str) -> float:
    """Return what the layers above those of ``base`` take when they are compressed.

    Raises:
        ValueError: ``image`` is not built upon ``base``.
    """
    below = layers(base)
    if layers(image)[: len(below)] != below:
        raise ValueError(f"{image} is not built upon the {base} that is here; build it again")
    with subprocess.Popen([_program(), "save", image], stdout=subprocess.PIPE) as saving:
        sizes: dict[str, int] = {}
        names: list[str] = []
        with tarfile.open(fileobj=saving.stdout, mode="r|") as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is None:
                    continue
                if member.name == "manifest.json":
                    names = json.load(file)[0]["Layers"]
                elif member.name.endswith("layer.tar"):
                    sizes[member.name] = _compressed(file)
    return sum(sizes[name] for name in names[len(below) :]) / 1e6


def _compressed(file: IO[bytes]) -> int:
    counter = _Counter()
    with gzip.GzipFile(fileobj=counter, mode="wb", compresslevel=6, mtime=0) as packed:  # type: ignore[call-overload]
        while block := file.read(_BLOCK):
            packed.write(block)
    return counter.size


class _Counter:
    """A file that only counts."""

    size = 0

    def write(self, data: bytes) -> int:
        """Count."""
        self.size += len(data)
        return len(data)


def start_seconds(image: Image, name: str) -> float:
    """Return how long a container takes from its start to its first answer.

    Raises:
        TimeoutError: it does not answer.
    """
    settings = ["TRAINYARD_DATABASE_URL=postgresql://nobody@127.0.0.1:1/none", "AWS_ENDPOINT_URL=http://127.0.0.1:1",
                "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x"]  # fmt: skip
    options = ["--rm", "--detach", "--publish", f"127.0.0.1::{image.port}"]
    environment = [word for setting in settings for word in ("--env", setting)]
    began = time.monotonic()
    container = _docker("run", *options, *environment, name, *image.command)
    try:
        address = _docker("port", container, str(image.port)).splitlines()[0]
        while time.monotonic() - began < _PATIENCE_SECONDS:
            try:
                with urllib.request.urlopen(f"http://{address}/healthz", timeout=1):
                    return time.monotonic() - began
            except OSError:
                time.sleep(0.02)
        raise TimeoutError(f"{name} does not answer")
    finally:
        _docker("kill", container)


def _docker(*arguments: str) -> str:
    return subprocess.run([_program(), *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _program() -> str:
    found = shutil.which("docker")
    if found is None:
        raise FileNotFoundError("there is no docker command; `make engine` brings one")
    return found


def main(tag: str) -> int:
    """Print a table of all images; return 1 when one of them is beyond a limit."""
    beyond = False
    print("| image | MB beyond its base | limit | seconds to the first answer | limit |\n|---|---|---|---|---|")
    for image in IMAGES:
        name = f"trainyard-{image.service}:{tag}"
        size = megabytes(name, image.base)
        seconds = min(start_seconds(image, name) for _ in range(_STARTS)) if image.port else None
        beyond |= image.most_mb is not None and size > image.most_mb
        beyond |= seconds is not None and seconds > MOST_START_SECONDS
        shown = "–" if seconds is None else f"{seconds:.2f}"
        limit = "–" if seconds is None else f"{MOST_START_SECONDS:.0f}"
        print(f"| {image.service} | {size:.0f} | {image.most_mb or '–'} | {shown} | {limit} |", flush=True)
    return int(beyond)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "dev"))
