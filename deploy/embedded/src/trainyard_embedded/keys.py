"""The first API key: made once, kept in a file that only its owner may read, registered by the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.private_files import keep_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def ensure(directory: Path, make_key: Callable[[], str]) -> Path:
    """Return the file of the admin key; one that exists is left alone."""
    return keep_private(directory / "admin.key", make_key)
