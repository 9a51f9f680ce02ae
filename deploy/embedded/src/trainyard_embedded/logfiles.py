"""One log file per child, kept small: what a process wrote outlives the process, but does not fill the disk."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_MOST_BYTES = 16 * 1024 * 1024
_TAIL_BYTES = 4096


class LogFiles:
    """The log directory. A file that has grown past ``most_bytes`` moves to ``<name>.log.1``, which is overwritten."""

    def __init__(self, directory: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._directory = directory
        self._most_bytes = most_bytes

    def path(self, name: str) -> Path:
        """Return where the child ``name`` logs to."""
        return self._directory / f"{name}.log"

    def open(self, name: str) -> BinaryIO:
        """Open the log for appending, with an old one that is too big moved away first."""
        self._shrink(self.path(name))
        return os.fdopen(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    def shrink_all(self) -> None:
        """Cut every log that is too big; writers append, so they carry on in the emptied file."""
        for path in self._directory.glob("*.log"):
            self._shrink(path)

    def last_line(self, name: str) -> str:
        """Return the last line that is not blank, at most 200 characters of it."""
        try:
            with self.path(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
        except FileNotFoundError:
            lines = []
        return next((line[:200] for line in reversed(lines) if line), "(nothing)")

    def _shrink(self, path: Path) -> None:
        if path.exists() and path.stat().st_size > self._most_bytes:
            # Copied and emptied, not renamed: the process that writes to it keeps its descriptor.
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)
