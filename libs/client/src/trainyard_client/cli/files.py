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

from trainyard_client import formats
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO, TextIO

    Json = dict[str, Any]
    #: turns a CSV cell into the value that the column's type asks for
    Read = Callable[[str], Any]

#: what the commands read themselves, row by row
FORMATS = ("csv", "ndjson", "json")


def format_of(name: str, wanted: str | None) -> str:
    """Return the format of a file by its name, or the one that is wanted.

    Raises:
        CommandError: the name does not tell.
    """
    told, gzipped = formats.of_name(name)
    found = wanted or told
    if found not in FORMATS or gzipped:
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
