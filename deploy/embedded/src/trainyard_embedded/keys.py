"""The first API keys: made once, kept in files that only their owner may read, registered by the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.private_files import keep_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def ensure(directory: Path, make_key: Callable[[], str]) -> tuple[Path, Path]:
    """Return the files of the admin key and of the console's read-only key; a file that exists is left alone."""
    return keep_private(directory / "admin.key", make_key), keep_private(directory / "console.key", make_key)
