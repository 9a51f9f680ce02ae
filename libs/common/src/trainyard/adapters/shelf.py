"""A shelf in a directory: large artifacts beside the object store."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from trainyard.contracts.copies import Shelf
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE_BYTES = 1 << 20
_ENDING = ".msgpack"
_NAME = re.compile(r"([0-9a-f]{64})\.msgpack")


class DirectoryShelf(Shelf):
    """Files in ``directory``, which is made when the first one comes; each is written under another name first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, sha256: str, data: BinaryIO) -> None:
        """Write the file, let the disk have it, then give it its name.

        Raises:
            ValueError: it has another hash.
        """
        with _translated("write to"):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self._directory / f".{sha256}.{os.getpid()}"
            try:
                found = _copy(data, fresh)
                if found != sha256:
                    raise ValueError(f"the file has the hash {found}, not {sha256}")
                fresh.replace(self._directory / f"{sha256}{_ENDING}")
            finally:
                fresh.unlink(missing_ok=True)

    def open(self, sha256: str) -> BinaryIO | None:
        """Open the file."""
        with _translated("read from"), suppress(FileNotFoundError):
            return (self._directory / f"{sha256}{_ENDING}").open("rb")
        return None

    def hashes(self) -> Iterator[str]:
        """List the directory."""
        with _translated("list"):
            names = sorted(file.name for file in self._directory.iterdir()) if self._directory.is_dir() else []
        yield from (match[1] for name in names if (match := _NAME.fullmatch(name)))

    def remove(self, sha256: str) -> None:
        """Unlink the file."""
        with _translated("remove from"):
            (self._directory / f"{sha256}{_ENDING}").unlink(missing_ok=True)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise TransientError(f"cannot {what} the directory of copies: {e}") from e


def _copy(data: BinaryIO, path: Path) -> str:
    """Write what comes, and return its hash."""
    hashed = hashlib.sha256()
    with path.open("wb") as file:
        while piece := data.read(_PIECE_BYTES):
            hashed.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return hashed.hexdigest()
