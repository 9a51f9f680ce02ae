"""What a run of chaos in CI size showed: gathered from its tests, printed, and kept in ``.state/chaos/ci.json``."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".state" / "chaos" / "ci.json"


def machine() -> str:
    """Return what this machine is, in a few words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"


def commit() -> str:
    """Return the commit of the sources, with ``+`` behind it when they have been changed since; or "unknown".

    The evidence is no source: a run writes it after each of its legs.
    """
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def asked(*words: str) -> str:
        return subprocess.run([git, *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = asked("status", "--porcelain", "--", ".", ":(exclude)docs/evidence")
    return (asked("rev-parse", "--verify", "HEAD") or "unknown") + ("+" if changed else "")


class Report:
    """The figures of one session."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self.storm: dict[str, Any] | None = None
        self._scenarios: dict[str, dict[str, Any]] = {}

    def take(self, scenarios: Mapping[str, Future[Any]]) -> None:
        """Take the results of all scenarios that came to an end, under the names of their tests."""
        for node, future in scenarios.items():
            name = node.rpartition("::")[2]
            if not future.done() or future.cancelled():
                continue
            failure = future.exception()
            result = None if failure else future.result()
            said = asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
            self._scenarios[name] = {"failure": repr(failure)} if failure else dict(said)

    def figures(self) -> dict[str, Any]:
        """Return everything as it is written."""
        cells = {name: said for name, said in self._scenarios.items() if name.startswith("test_cell")}
        others = {name: said for name, said in self._scenarios.items() if name not in cells}
        slowest = sorted(((said["seconds"], name) for name, said in cells.items() if "seconds" in said), reverse=True)
        failures = {name: said["failure"] for name, said in cells.items() if "failure" in said}
        return {
            "command": "make chaos",
            "commit": commit(),
            "machine": machine(),
            "seconds": round(time.monotonic() - self._begun, 1),
            "matrix": {"cells": len(cells), "failures": failures, "slowest_seconds": slowest[:5]},
            "storm": self.storm,
            "takeovers": others,
        }

    def write(self) -> list[str]:
        """Write the figures; return them as lines to print."""
        found = self.figures()
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
        return [*(f"{name}: {json.dumps(value, default=str)}" for name, value in found.items()), f"kept in {FILE}"]
