"""Arming crash points from a test: in a process that the test starts, or in the test's own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainyard.crashpoints import CrashPoint, arm, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def chaos(name: str, action: str, *, nth: int = 1, once: Path | None = None) -> dict[str, str]:
    """Return the variables that arm the point ``name`` in a child process.

    Give ``once`` (a path that does not exist) when something starts the child again with the same variables.
    """
    options = f":nth={nth}" + (f":once={once}" if once is not None else "")
    point: CrashPoint = parse(f"{name}:{action}{options}")
    return {"TRAINYARD_ENV": "test", "CHAOS": f"{point.name}:{point.action}{options}"}


@contextmanager
def armed(name: str, action: str = "error", *, nth: int = 1) -> Iterator[None]:
    """Arm the point ``name`` in this process inside the block."""
    arm(chaos(name, action, nth=nth))
    try:
        yield
    finally:
        arm({})
