"""docs/tutorial.md, as its reader goes through it: every command of it, in its order, on the stack."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
#: What the stack of these tests has behind it, and what its other tests still need.
NOT_HERE = {"make install", "source .venv/bin/activate", "trainyard up --detach", "trainyard down"}
_SECONDS = 1_200


def _blocks() -> Iterator[tuple[str, str]]:
    """Yield language and text of each piece of code on the page."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.timeout(_SECONDS)
def test_the_tutorial(stack: Any, tmp_path: Path) -> None:
    """It ends where the page says: two versions, the second refused, the first champion again, a healthy stack."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "trainyard"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m trainyard_client.main "$@"\n')
    program.chmod(0o755)
    environment = {
        **stack.environment,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "TRAINYARD_CONFIG_DIR": str(tmp_path / "config"),
    }
    left_out: set[str] = set()
    said: dict[str, str] = {}
    for language, text in _blocks():
        if language == "python":
            commands = {"python": [sys.executable, "-c", text]}
        else:
            lines = [line for line in text.splitlines() if line]
            left_out |= NOT_HERE.intersection(lines)
            commands = {line: [str(shutil.which("bash")), "-c", line] for line in lines if line not in NOT_HERE}
        for line, command in commands.items():
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            said[line] = done.stdout
    assert left_out == NOT_HERE

    versions = {one["version"]: one for one in stack.items("/v1/models/delays/versions")}
    assert {number: one["passed"] for number, one in versions.items()} == {1: True, 2: False}
    assert stack.call("GET", "/v1/models/delays/aliases/champion")["version"] == 1
    assert sum(one["labels"] for one in stack.call("GET", "/v1/models/delays/quality")["windows"]) == 200
    assert "healthy: all" in said["trainyard doctor --wait 60"]
    assert "/sign-in/link?once=" in said["trainyard console"]
    assert {"card.html", "answers.csv"} <= {file.name for file in tmp_path.iterdir()}


def test_it_names_no_command_that_it_does_not_run() -> None:
    """In its text stand only commands that stand in a block of it, or that the first sentence of a step shows whole."""
    page = PAGE.read_text(encoding="utf-8")
    run = "\n".join(text for language, text in _blocks() if language == "sh")
    for named in re.findall(r"`(trainyard [^`]+)`", page):
        assert named in run or named in {"trainyard status", "trainyard up"}, named
