"""Files of rows on the way in and out: which format, read as a stream, written as predictions come."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO, TextIO

    Json = dict[str, Any]
    #: turns a CSV cell into the value that the column's type asks for
    Read = Callable[[str], Any]

FORMATS = ("csv", "ndjson", "json")
CONTENT_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson", "json": "application/json"}
_SUFFIXES = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json"}
_BLOCK = 1 << 16
#: a little less than the 8 MiB that ingest infers a schema from
_SAMPLE_BYTES = 8 * 1024 * 1024 - 4096


def format_of(name: str, wanted: str | None) -> str:
    """Return the format of a file by its name, or the one that is wanted.

    Raises:
        CommandError: the name does not tell.
    """
    found = wanted or _SUFFIXES.get(Path(name).suffix.lower())
    if found is None:
        raise CommandError(
            f"the format of {name!r} is not clear from its name", Exit.USAGE, hint=f"give --format {'|'.join(FORMATS)}"
        )
    return found


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open a file for reading, or standard input for ``-``.

    Raises:
        CommandError: it cannot be opened.
    """
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - closed below, but an error while opening is told apart
    except OSError as e:
        raise CommandError(f"{name} cannot be read: {e.strerror}", Exit.USAGE) from e
    with file:
        yield file


class Counted:
    """An open file that tells how far it was read; requests streams it block by block with its length."""

    def __init__(self, file: BinaryIO, size: int, on_position: Callable[[int], None]) -> None:
        self._file = file
        self._size = size
        self._on_position = on_position

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._file.read(size)
        self._on_position(self._file.tell())
        return data

    def seekable(self) -> bool:
        """Tell that it can be sent again."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to another place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return where it is."""
        return self._file.tell()


def blocks(stream: BinaryIO, on_position: Callable[[int], None]) -> Iterator[bytes]:
    """Yield a stream of unknown length in blocks, each as soon as something is there."""
    read = getattr(stream, "read1", stream.read)
    position = 0
    while block := read(_BLOCK):
        position += len(block)
        on_position(position)
        yield block


def sample(name: str, format_: str) -> bytes:
    """Return the first rows of a file, whole lines, as ingest infers a schema from them.

    Raises:
        CommandError: the file cannot be read, or is one JSON document and too large.
    """
    with opened(name) as file:
        data = file.read(_SAMPLE_BYTES + 1)
    if len(data) <= _SAMPLE_BYTES:
        return data
    if format_ == "json":
        hint = "write one object per line (.ndjson), or give the columns with --schema"
        raise CommandError(f"{name} is larger than the 8 MiB that a schema is inferred from", Exit.USAGE, hint=hint)
    return data[: data.rindex(b"\n", 0, _SAMPLE_BYTES) + 1] if b"\n" in data[:_SAMPLE_BYTES] else data[:_SAMPLE_BYTES]


def rows(name: str, format_: str, readers: Mapping[str, Read]) -> Iterator[Json]:
    """Yield the rows of a file as JSON objects; CSV cells are read with ``readers``, the empty cell is None.

    Raises:
        CommandError: the file cannot be read in this format.
    """
    with opened(name) as file:
        try:
            text = io.TextIOWrapper(file, "utf-8-sig", newline="")
            try:
                yield from _ROWS[format_](text, readers)
            finally:
                text.detach()  # the caller's file, or standard input, is not ours to close
        except (ValueError, RecursionError, csv.Error) as e:
            raise CommandError(f"{name} cannot be read as {format_}: {e}", Exit.USAGE) from e


def json_file(name: str) -> Any:
    """Return the JSON document in a file.

    Raises:
        CommandError: it cannot be read.
    """
    with opened(name) as file:
        try:
            return json.load(file)
        except (ValueError, RecursionError) as e:
            raise CommandError(f"{name} is not JSON: {e}", Exit.USAGE) from e


def readers_of(columns: Sequence[Json]) -> dict[str, Read]:
    """Return how the cells of each column are read; what does not fit is sent as text, for the service to refuse."""
    return {column["name"]: _READERS.get(column["type"], str) for column in columns}


def _csv_rows(text: TextIO, readers: Mapping[str, Read]) -> Iterator[Json]:
    reader = csv.reader(text, strict=True)
    header = next(reader, None)
    if header is None:
        raise ValueError("it is empty")
    read = [readers.get(name, str) for name in header]
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(header):
            raise ValueError(f"line {reader.line_num} has {len(cells)} cells, the header has {len(header)}")
        yield {n: r(cell) if cell else None for n, r, cell in zip(header, read, cells, strict=True)}


def _ndjson_rows(text: TextIO, _readers: Mapping[str, Read]) -> Iterator[Json]:
    for number, line in enumerate(text, start=1):
        if line.strip():
            yield _object(json.loads(line), f"line {number}")


def _json_rows(text: TextIO, _readers: Mapping[str, Read]) -> Iterator[Json]:
    document = json.load(text)
    found = document.get("rows", [document]) if isinstance(document, dict) else document
    if not isinstance(found, list):
        raise ValueError('it is neither a list of objects nor {"rows": [...]}')  # noqa: TRY004 - about the file
    for number, row in enumerate(found, start=1):
        yield _object(row, f"row {number}")


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")  # noqa: TRY004 - about the file
    return value


def _whole(cell: str) -> int | str:
    try:
        return int(cell)
    except ValueError:
        return cell


def _number(cell: str) -> float | str:
    try:
        number = float(cell)
    except ValueError:
        return cell
    return number if math.isfinite(number) else cell  # JSON has no nan: the service names row and column


def _truth(cell: str) -> bool | str:
    word = cell.strip().lower()
    return word in {"true", "t", "yes", "1"} if word in {"true", "t", "yes", "1", "false", "f", "no", "0"} else cell


_READERS: dict[str, Read] = {"int": _whole, "float": _number, "bool": _truth}
_ROWS = {"csv": _csv_rows, "ndjson": _ndjson_rows, "json": _json_rows}
