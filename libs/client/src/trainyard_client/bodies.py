"""What an upload is made of: files, streams, rows and frames as bodies that are read once, block by block.

Rows and frames are written to a temporary file first, in memory up to 8 MiB and on disk beyond, so that they have a
length and can be sent again after a broken connection.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trainyard_client import formats
from trainyard_client.errors import ClientError, MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import BinaryIO

_BLOCK_BYTES = 1 << 16
_HASHED_BYTES = 1 << 20
_IN_MEMORY_BYTES = 8 << 20


class Readable(Protocol):
    """A binary file, as far as an upload needs it."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most ``size`` of them."""
        ...


@dataclass(frozen=True)
class Body:
    """Bytes to send. ``size`` None: not known before their end; such a body, and one that cannot seek, is sent once."""

    file: Any
    size: int | None
    format: str
    gzipped: bool

    @property
    def repeatable(self) -> bool:
        """Whether it can be sent again from its start."""
        return self.size is not None


@contextmanager
def opened(source: Any, wanted: str | None) -> Iterator[Body]:
    """Open what :meth:`~trainyard_client.areas.rows.Rows.ingest` takes.

    Raises:
        MisuseError: the format is not clear, or the source is nothing that can be sent.
        OSError: a file cannot be read.
    """
    if wanted is not None and wanted not in formats.FORMATS:
        raise MisuseError(f"{wanted!r} is no format; there are {', '.join(formats.FORMATS)}")
    if isinstance(source, str | os.PathLike):
        kind, gzipped = _format_of(os.fspath(source), wanted)
        with Path(source).open("rb") as file:
            yield Body(file, _left_in(file), kind, gzipped)  # None for a pipe that has a name
    elif isinstance(source, bytes | bytearray):
        kind, gzipped = _format_of("", wanted)
        yield Body(io.BytesIO(source), len(source), kind, gzipped)
    elif hasattr(source, "read"):
        kind, gzipped = _format_of(str(getattr(source, "name", "")), wanted)
        yield Body(source, _left_in(source), kind, gzipped)
    elif hasattr(source, "to_parquet") and hasattr(source, "to_csv"):
        with _temporary() as file:
            kind = _write_frame(source, file, wanted)
            yield _written(file, kind)
    elif hasattr(source, "__iter__"):
        with _temporary() as file:
            _write_rows(source, file)
            yield _written(file, "ndjson")
    else:
        raise MisuseError(f"{type(source).__name__} is neither a file nor rows nor a frame")


def headers(body: Body) -> dict[str, str]:
    """Return what the service is to know of a body beforehand: that it is packed, and its SHA-256 (RFC 9530).

    A body that can be read again is read for it, and is at its start again.
    """
    said = {"Content-Encoding": "gzip"} if body.gzipped else {}
    if body.repeatable:
        digest = hashlib.sha256()
        while block := body.file.read(_HASHED_BYTES):
            digest.update(block)
        body.file.seek(0)
        said["Content-Digest"] = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    return said


class Counted:
    """A body of known length that tells how far it was read; requests sends it with that length."""

    def __init__(self, file: Readable, size: int, on_position: Callable[[int], None]) -> None:
        self._file = file
        self._size = size
        self._position = 0
        self._on_position = on_position

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        data = self._file.read(size)
        self._position += len(data)
        self._on_position(self._position)
        return data

    def rewound(self) -> None:
        """Note that the file is at its start again."""
        self._position = 0


def blocks(stream: Readable, on_position: Callable[[int], None]) -> Iterator[bytes]:
    """Yield a stream of unknown length in blocks, each as soon as something is there."""
    read = getattr(stream, "read1", stream.read)
    position = 0
    while block := read(_BLOCK_BYTES):
        position += len(block)
        on_position(position)
        yield block


def payload(body: Body, on_position: Callable[[int], None]) -> dict[str, Any]:
    """Return the arguments that send a body: with its length and repeatable, or in chunks and once."""
    if body.size is None:
        return {"data": blocks(body.file, on_position), "once": True}
    counted = Counted(body.file, body.size, on_position)

    def rewind() -> None:
        body.file.seek(0)
        counted.rewound()

    return {"data": counted if body.size else b"", "rewind": rewind}


def _format_of(name: str, wanted: str | None) -> tuple[str, bool]:
    found, gzipped = formats.of_name(name)
    kind = wanted or found
    if kind is None:
        raise MisuseError(f"the format of {name or 'the rows'!r} is not clear; name it: {', '.join(formats.FORMATS)}")
    if gzipped and kind not in formats.GZIPPED:
        raise MisuseError(f"{name!r}: {kind} is compressed inside; send it without .gz around it")
    return kind, gzipped


def _left_in(file: Any) -> int | None:
    """Return how many bytes a file has; None for one that cannot be read again from its start."""
    if not (hasattr(file, "seekable") and file.seekable()):
        return None
    size = int(file.seek(0, io.SEEK_END))
    file.seek(0)
    return size


def _temporary() -> Any:
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, mode="w+b")


def _written(file: BinaryIO, kind: str) -> Body:
    size = file.tell()
    file.seek(0)
    return Body(file, size, kind, gzipped=False)


def _write_frame(frame: Any, file: BinaryIO, wanted: str | None) -> str:
    """Write a pandas frame without its index: as Parquet, which keeps the types, or as CSV where pyarrow is not."""
    kind = wanted or ("parquet" if importlib.util.find_spec("pyarrow") else "csv")
    if kind == "parquet":
        frame.to_parquet(file, index=False, engine="pyarrow")
    elif kind == "csv":
        text = io.TextIOWrapper(file, "utf-8", newline="")
        frame.to_csv(text, index=False)
        text.detach()
    else:
        raise MisuseError("a frame is sent as parquet or csv")
    return kind


def _write_rows(rows: Iterable[Mapping[str, Any]], file: BinaryIO) -> None:
    for number, row in enumerate(rows, start=1):
        try:
            line = json.dumps(row, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as e:
            raise ClientError(f"row {number} cannot be sent as JSON: {e}") from e
        file.write(line.encode() + b"\n")
