"""The year of flights as files of every format that rows may come in."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from trainyard_demo.data.source import find

if TYPE_CHECKING:
    from pathlib import Path

#: column -> type of the dataset; the others are whole numbers
TYPES = {"carrier": "category", "tailnum": "text", "origin": "category", "dest": "category", "time_hour": "timestamp"}
_ARROW = {"category": pa.string(), "text": pa.string(), "timestamp": pa.timestamp("us", "UTC"), "int": pa.int64()}


def rows() -> tuple[list[str], list[list[str]]]:
    """Return the header and all 336,776 rows; what is missing is the empty cell."""
    with zipfile.ZipFile(find() / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        records = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
        header = next(records)
        return header, [["" if cell == "NA" else cell for cell in record] for record in records]


def schema(header: list[str]) -> list[dict[str, Any]]:
    """Return the columns of the dataset."""
    return [{"name": name, "type": TYPES.get(name, "int")} for name in header]


def write_csv(path: Path, header: list[str], body: list[list[str]], *, times: int = 1, bad_every: int = 0) -> Path:
    """Write CSV; of ``bad_every`` rows one has a cell that is no number."""
    lines = [",".join(record) for record in body]
    if bad_every:
        lines = ["x" + line if n % bad_every == bad_every // 2 else line for n, line in enumerate(lines)]
    whole = "\n".join(lines) + "\n"
    with path.open("w") as out:
        out.write(",".join(header) + "\n")
        for _ in range(times):
            out.write(whole)
    return path


def write_parquet(path: Path, csv_file: Path, header: list[str]) -> Path:
    """Write the rows of a CSV file as Parquet with its types."""
    types = {name: _ARROW[TYPES.get(name, "int")] for name in header}
    options = arrow_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    parquet.write_table(arrow_csv.read_csv(csv_file, convert_options=options), path, row_group_size=65_536)
    return path


def write_json(path: Path, header: list[str], body: list[list[str]], *, lines: bool) -> Path:
    """Write NDJSON, or one JSON array."""
    texts = [name in TYPES for name in header]

    def record(cells: list[str]) -> str:
        values = [(cell if text else int(cell)) if cell else None for cell, text in zip(cells, texts, strict=True)]
        return json.dumps(dict(zip(header, values, strict=True)))

    whole = ("\n" if lines else ",\n").join(map(record, body))
    path.write_text(whole + "\n" if lines else f"[{whole}]")
    return path
