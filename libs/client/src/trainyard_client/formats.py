"""The formats that rows are sent in: by the ending of a file's name, with the Content-Type that names each."""

from __future__ import annotations

from pathlib import PurePath

FORMATS = ("csv", "ndjson", "json", "parquet")
CONTENT_TYPES = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}
#: Parquet compresses its own pages; the service does not unpack it twice.
GZIPPED = frozenset({"csv", "ndjson", "json"})
_SUFFIXES = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json", ".parquet": "parquet"}


def of_name(name: str) -> tuple[str | None, bool]:
    """Return the format that a file's name tells, None when it tells none, and whether it ends in ``.gz``."""
    path = PurePath(name.lower())
    gzipped = path.suffix == ".gz"
    return _SUFFIXES.get(PurePath(path.stem).suffix if gzipped else path.suffix), gzipped
