"""The columns of a dataset as the command line says them: by a sample file, a schema file, and options for roles."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard_client import formats
from trainyard_client.cli import files
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    from trainyard_client.client import Client

    Json = dict[str, Any]

#: a little less than the 8 MiB that ingest infers a schema from
_SAMPLE_BYTES = 8 * 1024 * 1024 - 4096
#: a row group may be large, and types need no more
_SAMPLE_ROWS = 10_000


def like(client: Client, name: str, file: str, wanted: str | None) -> list[Json]:
    """Return the columns that a file's first rows suggest.

    Raises:
        CommandError: the file cannot be read, or its format is not clear.
    """
    told, gzipped = formats.of_name(file)
    kind = wanted or told
    if kind is None:
        hint = f"give --format {'|'.join(formats.FORMATS)}"
        raise CommandError(f"the format of {file!r} is not clear from its name", Exit.USAGE, hint=hint)
    return client.infer(name, _sample(file, kind, gzipped=gzipped), formats.CONTENT_TYPES[kind])


def in_file(schema: str) -> tuple[list[Json], Json]:
    """Return columns and settings of a schema file: ``{"columns": [...], "settings"?: {...}}``.

    Raises:
        CommandError: it is none.
    """
    document = files.json_file(schema)
    columns = document.get("columns") if isinstance(document, dict) else None
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        raise CommandError(f'{schema} is not an object {{"columns": [...]}}', Exit.USAGE)
    settings = document.get("settings") or {}
    if not isinstance(settings, dict):
        raise CommandError(f'{schema}: "settings" is not an object', Exit.USAGE)
    return columns, settings


def set_roles(columns: list[Json], roles: Mapping[str, Sequence[str | None]]) -> None:
    """Give columns their roles in place; keys become non-nullable.

    Raises:
        CommandError: a column is not there, or is to have two roles.
    """
    by_name = {str(column.get("name")): column for column in columns}
    given: dict[str, str] = {}
    for role, names in roles.items():
        for name in filter(None, names):
            if name not in by_name:
                hint = f"columns: {', '.join(by_name)}"
                raise CommandError(f"there is no column {name!r} for the role {role}", Exit.USAGE, hint=hint)
            if given.setdefault(name, role) != role:
                raise CommandError(f"the column {name!r} cannot be both {given[name]} and {role}", Exit.USAGE)
            by_name[name]["role"] = role
            if role == "key":
                by_name[name]["nullable"] = False


def _sample(name: str, kind: str, *, gzipped: bool) -> bytes:
    with files.opened(name) as file:
        if kind == "parquet":
            return _parquet_sample(name, file)
        try:
            unpacked: Any = gzip.GzipFile(fileobj=file) if gzipped else file
            data = unpacked.read(_SAMPLE_BYTES + 1)
        except (OSError, EOFError, zlib.error) as e:
            raise CommandError(f"{name} cannot be read: {e}", Exit.USAGE) from e
    if len(data) <= _SAMPLE_BYTES:
        return bytes(data)
    if kind == "json":
        hint = "write one object per line (.ndjson), or give the columns with --schema"
        raise CommandError(f"{name} is larger than the 8 MiB that a schema is inferred from", Exit.USAGE, hint=hint)
    end = data.rfind(b"\n", 0, _SAMPLE_BYTES) + 1
    return bytes(data[: end or _SAMPLE_BYTES])


def _parquet_sample(name: str, file: BinaryIO) -> bytes:
    """Return the whole file, or, of a large one, a small file of its first rows: a part of Parquet cannot be read."""
    if not file.seekable():
        raise CommandError("a Parquet file cannot be read from standard input; give its name", Exit.USAGE)
    if file.seek(0, io.SEEK_END) <= _SAMPLE_BYTES:
        file.seek(0)
        return file.read()
    if importlib.util.find_spec("pyarrow") is None:
        hint = "install pyarrow, give a smaller file, or give the columns with --schema"
        raise CommandError(f"{name} is larger than 8 MiB, and pyarrow is not here to sample it", Exit.USAGE, hint=hint)
    return _first_rows(name, file)


def _first_rows(name: str, file: BinaryIO) -> bytes:
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    file.seek(0)
    try:
        source = parquet.ParquetFile(file)
        batch = next(source.iter_batches(batch_size=_SAMPLE_ROWS), None)
        rows = arrow.Table.from_batches([] if batch is None else [batch], schema=source.schema_arrow)
    except (arrow.ArrowException, OSError) as e:
        raise CommandError(f"{name} cannot be read as Parquet: {e}", Exit.USAGE) from e
    while True:
        written = io.BytesIO()
        parquet.write_table(rows, written, compression="zstd")
        if written.tell() <= _SAMPLE_BYTES:
            return written.getvalue()
        if rows.num_rows <= 1:
            raise CommandError(f"{name}: one row of it is larger than 8 MiB", Exit.USAGE)
        rows = rows.slice(0, rows.num_rows // 4 or 1)


def shown_name(source: str) -> str:
    """Return what people call a source of rows."""
    return "standard input" if source == "-" else Path(source).name
