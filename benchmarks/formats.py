"""Formats: rows per second of reading and checking the flights, in process and without a database, as ratios to CSV."""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import flights
from trainyard.schema import Schema
from trainyard_ingest.domain import formats
from trainyard_ingest.domain.source import Source
from trainyard_ingest.domain.tally import Tally

ROUNDS = 5
JSON_ROWS = 150_000


def run() -> dict[str, Any]:
    """Print rows per second and ratios, and return them."""
    with tempfile.TemporaryDirectory() as name:
        bodies = _bodies(Path(name))
    schema = Schema.from_dict({"columns": flights.schema(flights.rows()[0])})
    rates: dict[str, list[float]] = {kind.name: [] for kind in bodies}
    for _ in range(ROUNDS):
        for kind, body in bodies.items():
            rates[kind.name].append(_rate(kind, body, schema))
    csv = statistics.median(rates["csv"])
    figures = {}
    for kind, found in rates.items():
        rate = statistics.median(found)
        figures[kind] = {"rows_per_second": rate, "ratio_to_csv": rate / csv}
        print(f"   {kind:8} {rate:10,.0f} rows/s  {rate / csv:5.2f} of CSV")
    return figures


def _bodies(folder: Path) -> dict[formats.Format, bytes]:
    header, body = flights.rows()
    csv = flights.write_csv(folder / "f.csv", header, body)
    paths = {
        formats.CSV: csv,
        formats.NDJSON: flights.write_json(folder / "f.ndjson", header, body, lines=True),
        formats.JSON: flights.write_json(folder / "f.json", header, body[:JSON_ROWS], lines=False),
        formats.PARQUET: flights.write_parquet(folder / "f.parquet", csv, header),
    }
    return {kind: path.read_bytes() for kind, path in paths.items()}


def _rate(kind: formats.Format, body: bytes, schema: Schema) -> float:
    tally = Tally()
    began = time.perf_counter()
    for _ in kind.read(Source(io.BytesIO(body), kind.most_bytes), schema, tally).chunks:
        pass
    seconds = time.perf_counter() - began
    assert tally.rejected == 0
    return tally.rows / seconds
