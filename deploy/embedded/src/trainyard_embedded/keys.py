"""The first API keys: made once, kept in files that only their owner may read, registered by the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def ensure(directory: Path, make_key: Callable[[], str]) -> tuple[Path, Path]:
    """Return the files of the admin key and of the console's read-only key; a file that exists is left alone."""
    files = (directory / "admin.key", directory / "console.key")
    for file in files:
        if not file.exists():
            write_private(file, make_key() + "\n")
    return files
