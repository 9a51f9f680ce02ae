"""The formats that rows may come in: by Content-Type over HTTP, by the ending of its name for a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from trainyard.errors import Problem, ServiceError
from trainyard.schema import infer_schema, shown
from trainyard_ingest.domain.csv_blocks import CsvBlocks, refuse_ragged
from trainyard_ingest.domain.csv_rows import read_csv
from trainyard_ingest.domain.json_rows import json_objects, ndjson_objects, read_json, read_ndjson
from trainyard_ingest.domain.limits import MAX_JSON_BYTES, MAX_SAMPLE_BYTES, MAX_STREAM_BYTES
from trainyard_ingest.domain.packed import Unpacked
from trainyard_ingest.domain.parquet_rows import parquet_schema, read_parquet

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.warehouse import Rows
    from trainyard.schema import Column, Schema
    from trainyard_ingest.domain.source import Body, Source
    from trainyard_ingest.domain.tally import Tally

__all__ = [
    "CSV",
    "FORMATS",
    "JSON",
    "MAX_SAMPLE_BYTES",
    "MAX_STREAM_BYTES",
    "NDJSON",
    "PARQUET",
    "Format",
    "by_content_type",
    "by_name",
    "infer",
    "new_columns",
    "packed",
]
_PACKED_ENDING = ".gz"
_PACKED_NAME = "+gzip"
#: How many rows tell the type of a new column.
_SAMPLE_ROWS = 10_000


@dataclass(frozen=True)
class Format:
    """One way to write rows. ``name`` is part of the fingerprint of bodies without an Idempotency-Key.

    ``most_bytes`` are of the body as sent. ``packable``: it may come packed by gzip.
    """

    name: str
    content_type: str
    endings: tuple[str, ...]
    most_bytes: int
    read: Callable[[Body, Schema, Tally], Rows]
    packable: bool = True


CSV = Format("csv", "text/csv", (".csv",), MAX_STREAM_BYTES, read_csv)
NDJSON = Format("ndjson", "application/x-ndjson", (".ndjson", ".jsonl"), MAX_STREAM_BYTES, read_ndjson)
JSON = Format("json", "application/json", (".json",), MAX_JSON_BYTES, read_json)
PARQUET = Format(
    "parquet", "application/vnd.apache.parquet", (".parquet",), MAX_STREAM_BYTES, read_parquet, packable=False
)
FORMATS = (CSV, NDJSON, JSON, PARQUET)


def by_content_type(content_type: str) -> Format:
    """Return the format of a Content-Type header.

    Raises:
        ServiceError: ``unsupported_media``.
    """
    kind, *parameters = [part.strip().lower() for part in content_type.split(";")]
    charset = next((p.partition("=")[2].strip('" ') for p in parameters if p.startswith("charset=")), "utf-8")
    for known in FORMATS:
        if kind == known.content_type and charset in {"utf-8", "utf8", "us-ascii"}:
            return known
    takes = ", ".join(known.content_type for known in FORMATS)
    raise ServiceError(
        "unsupported_media", f"Content-Type is {shown(content_type)}; this route reads {takes}, in UTF-8"
    )


def by_name(name: str) -> Format | None:
    """Return the format of a file by its name, or None for a name that says nothing."""
    name = name.lower()
    plain = name.removesuffix(_PACKED_ENDING)
    known = next((known for known in FORMATS if plain.endswith(known.endings)), None)
    if known is None or plain == name:
        return known
    return packed(known) if known.packable else None


def packed(kind: Format) -> Format:
    """Return the format of bodies of ``kind`` that are packed by gzip.

    Raises:
        ServiceError: ``unsupported_media``: the format has a compression of its own.
    """
    if not kind.packable:
        raise ServiceError(
            "unsupported_media", f"{kind.content_type} is not read packed by gzip; send the file as it is"
        )

    def read(source: Body, schema: Schema, tally: Tally) -> Rows:
        return kind.read(_unpacked(source, kind), schema, tally)

    endings = tuple(ending + _PACKED_ENDING for ending in kind.endings)
    return replace(kind, name=kind.name + _PACKED_NAME, endings=endings, read=read, packable=False)


def _unpacked(source: Body, kind: Format) -> Unpacked:
    return Unpacked(source, kind.most_bytes)


def infer(source: Source, kind: Format) -> Schema:
    """Return the schema that a sample suggests.

    Raises:
        ServiceError: what the format raises for a bad body, or ``invalid_schema`` for names that no column may have.
    """
    if kind is PARQUET:
        return parquet_schema(source)
    columns = _csv_columns(source) if kind is CSV else _json_columns(source, kind)
    return infer_schema(columns)


def new_columns(body: Body, kind: Format, schema: Schema) -> tuple[Column, ...]:
    """Return the columns that the first rows of a body have and ``schema`` has not, as those rows suggest them.

    Raises:
        ServiceError: what the format raises for a bad body, or ``invalid_schema`` for names that no column may have.
    """
    plain = next(known for known in FORMATS if known.name == kind.name.removesuffix(_PACKED_NAME))
    if kind.name != plain.name:
        body = _unpacked(body, plain)
    if plain is PARQUET:
        found = parquet_schema(body).columns
    else:
        samples = _first_cells(body) if plain is CSV else _first_values(body, plain)
        new = {name: values for name, values in samples.items() if name not in schema}
        found = infer_schema(new).columns if new else ()
    return tuple(column for column in found if column.name not in schema)


def _first_cells(body: Body) -> dict[str, list[Any]]:
    blocks = CsvBlocks(body.blocks())
    records = list(islice(blocks.records(), _SAMPLE_ROWS))
    # Ragged records are refused where all are read.
    return {name: [r[n] for r in records if len(r) > n] for n, name in enumerate(blocks.header)}


def _first_values(body: Body, kind: Format) -> dict[str, list[Any]]:
    rows = json_objects(body) if kind is JSON else ndjson_objects(body)
    columns: dict[str, list[Any]] = {}
    for row in islice(rows, _SAMPLE_ROWS):
        for name, value in row.items() if isinstance(row, dict) else ():
            if not isinstance(value, dict | list):  # which is rejected where all are read
                columns.setdefault(name, []).append(value)
    return columns


def _csv_columns(source: Source) -> dict[str, list[Any]]:
    blocks = CsvBlocks(source.blocks())
    width = len(blocks.header)
    records = list(blocks.records())
    if not records:
        raise ServiceError("empty_body", "the sample has a header and no row")
    if any(len(record) != width for record in records):
        refuse_ragged(records, width, 2, len(records) + 1)
    return {name: [record[number] for record in records] for number, name in enumerate(blocks.header)}


def _json_columns(source: Source, kind: Format) -> dict[str, list[Any]]:
    rows = list(json_objects(source) if kind is JSON else ndjson_objects(source))
    if not rows:
        raise ServiceError("empty_body", "the sample holds no row")
    problems: list[Problem] = []
    columns: dict[str, list[Any]] = {}
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            problems.append(Problem(number, None, "an object {column: value}", shown(row)))
            continue
        for name, value in row.items():
            if isinstance(value, dict | list):
                problems.append(Problem(number, shown(name), "a value that is not an object or a list", shown(value)))
            columns.setdefault(name, []).append(value)
    if problems:
        raise ServiceError("invalid_rows", "the sample's rows cannot be columns", problems[:100])
    return columns
