"""The file that a backup is: a tar archive that says what it is, and at its end what must be in it (docs/backup.md).

It is written and read as a stream, part by part. The first part, ``about.json``, tells format, release and revision;
the last, ``end.json``, lists every part before it with size and SHA-256: a file that was cut off has none, and one that
was changed has another list.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from trainyard.errors import TrainyardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Raised when a release before could not read the file.
FORMAT = 1
ABOUT, END = "about.json", "end.json"
#: What is in the database comes as pieces of this size, for nobody knows before how long it is.
PIECE_BYTES = 8 << 20
_BUFFER_BYTES = 1 << 20
_MOST_JSON_BYTES = 64 << 20


class BackupError(TrainyardError):
    """The file is no backup, a damaged one, or one of a later format; or it cannot be restored here."""


@dataclass(frozen=True)
class About:
    """What a backup is of: the release and the migration that it was made with, and how many bytes its objects have."""

    id: str
    release: str
    revision: str
    created_at: str
    objects: int
    object_bytes: int


@dataclass(frozen=True)
class Part:
    """One part, as the end lists it."""

    name: str
    size: int
    sha256: str


class Writer:
    """Writes a backup into ``file``; nothing is whole before :meth:`end`."""

    def __init__(self, file: IO[bytes], about: About) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed at the end
        self._parts: list[Part] = []
        self.add(ABOUT, _json({"format": FORMAT, **asdict(about)}))

    def add(self, name: str, data: bytes) -> None:
        """Add a part that is in memory."""
        self.stream(name, io.BytesIO(data), len(data))

    def stream(self, name: str, source: BinaryIO, size: int) -> str:
        """Add a part of ``size`` bytes from a stream, and return its hash.

        Raises:
            BackupError: the stream has another size.
        """
        reader = _Hashing(source)
        try:
            self._tar.addfile(_info(name, size), reader)
        except OSError as e:
            if reader.size < size:
                raise BackupError(f"{name} ended after {reader.size:,} of {size:,} bytes") from e
            raise
        self._parts.append(Part(name, size, reader.sha256))
        return reader.sha256

    def pieces(self, folder: str, source: IO[bytes], told: Callable[[int], None]) -> int:
        """Add a stream of unknown size, piece by piece, each of which is ``told``; return how many bytes it had."""
        total = number = 0
        while piece := _full(source, PIECE_BYTES):
            number += 1
            total += len(piece)
            self.add(f"{folder}/{number:08d}", piece)
            told(len(piece))
        return total

    def end(self, missing: Mapping[str, str]) -> None:
        """Write the end: the parts, and which objects the database refers to that the store did not have."""
        data = _json({"parts": [asdict(part) for part in self._parts], "missing": dict(missing)})
        self._tar.addfile(_info(END, len(data)), io.BytesIO(data))
        self._tar.close()


class Reader:
    """Reads a backup once, from the beginning of ``file`` to its end.

    Raises:
        BackupError: it is none, or one of a format that this release does not know.
    """

    def __init__(self, file: IO[bytes]) -> None:
        with _translated():
            self._tar = tarfile.open(fileobj=file, mode="r|")  # noqa: SIM115 - the file is the caller's
            first = self._tar.next()
            if first is None or first.name != ABOUT:
                raise BackupError("the file is no backup of Trainyard")
            data = self._whole(first)
        self._parts = [Part(ABOUT, len(data), hashlib.sha256(data).hexdigest())]
        raw = _parsed(data)
        if raw.pop("format", None) != FORMAT:
            raise BackupError(f"the backup was made by a later release; this one reads format {FORMAT}")
        try:
            self.about = About(**raw)
        except TypeError as e:
            raise BackupError("the backup is damaged: what it says of itself cannot be read") from e
        self.missing: dict[str, str] = {}

    def parts(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """Yield name, size and content of each part; what is not read of one is skipped.

        Raises:
            BackupError: a part is not the one that was written, or the file ends too early. What was yielded before
                may be damaged as well: it counts only when this generator has ended.
        """
        with _translated():
            while (info := self._tar.next()) is not None:
                if info.name == END:
                    self._check_end(_parsed(self._whole(info)))
                    return
                content = self._tar.extractfile(info)
                if content is None:
                    raise BackupError(f"the backup is damaged: {info.name} is no file")
                reader = _Hashing(content)
                yield info.name, info.size, io.BufferedReader(reader, _BUFFER_BYTES)
                while reader.read(_BUFFER_BYTES):
                    pass
                self._parts.append(Part(info.name, reader.size, reader.sha256))
        raise BackupError("the backup is damaged: it ends too early")

    def _check_end(self, end: Mapping[str, Any]) -> None:
        if end.get("parts") != [asdict(part) for part in self._parts]:
            raise BackupError("the backup is damaged: its parts are not those that were written")
        self.missing = {str(key): str(value) for key, value in dict(end.get("missing", {})).items()}

    def _whole(self, info: tarfile.TarInfo) -> bytes:
        content = self._tar.extractfile(info)
        if content is None or info.size > _MOST_JSON_BYTES:
            raise BackupError(f"the backup is damaged: {info.name} cannot be read")
        return content.read()


class _Hashing(io.RawIOBase):
    """A stream that notes size and hash of what is read from it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _translated():
            data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError) as e:
        raise BackupError(f"the backup is damaged, or is none: {e}") from e


def _full(source: IO[bytes], size: int) -> bytes:
    """Read ``size`` bytes, less only at the end: a pipe gives as much as it has."""
    pieces, missing = [], size
    while missing and (piece := source.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(data)
    except ValueError as e:
        raise BackupError("the backup is damaged: a part that must be JSON is none") from e
    if not isinstance(raw, dict):
        raise BackupError("the backup is damaged: a part that must be an object is none")
    return raw
