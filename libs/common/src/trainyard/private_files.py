"""Files that only their owner may read: keys, passwords, and what else concerns nobody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def keep_private(path: Path, make: Callable[[], str]) -> Path:
    """Write what ``make`` returns as a line to ``path``, unless there is such a file already; return ``path``."""
    if not path.exists():
        write_private(path, make() + "\n")
    return path
