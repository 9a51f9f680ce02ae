"""A snapshot into numpy: the first time, and again by another process, beside COPY to nowhere, ADBC and others.

All read the same table of the same durable server, each in a process of its own, one after the other in rounds;
figures are medians of the ratios within a round. The first reading finds no block and leaves some. Outputs are equal.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks import flights
from trainyard.adapters.postgres.migrate import migrate
from trainyard.testing.postgres import PostgresServer

_PEERS = Path(".state/peers/bin/python")
_READERS = Path(__file__).with_name("snapshot_readers.py")
#: Memory that a reading may take beside its result.
_MOST_MB = 50
SIZES = {1: 5, 10: 3}  # times the year of flights -> rounds
#: Slow ones are measured in the first round of the small table only.
_SLOW = ("pandas",)


@dataclass
class _Reading:
    """What the processes of one kind have said, round by round."""

    seconds: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    result_mb: float = 0.0


def run() -> list[dict[str, Any]]:
    """Measure, print the tables and return their rows."""
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = PostgresServer(folder / "pg", durable=True)
        server.start()
        try:
            migrate(server.url())
            header, body = flights.rows()
            count = len(body)
            files = {t: flights.write_csv(folder / f"{t}.csv", header, body, times=t) for t in SIZES}
            del body
            for times in SIZES:
                dataset = _load(server.dsn(), header, files[times], times)
                figures += _table(times, count * times, _rounds(server, dataset, len(header), times))
        finally:
            server.stop()
    return figures


def _load(dsn: str, header: list[str], file: Path, times: int) -> int:
    """Make a dataset of the file; return its id."""
    roles = {"time_hour": "event_time"}
    described = [
        {**column, "role": roles.get(column["name"], "feature"), "nullable": True, "physical": f"c{number}"}
        for number, column in enumerate(flights.schema(header), start=1)
    ]
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor, file.open("rb") as rows:
        cursor.execute(
            "INSERT INTO core.dataset (name, columns) VALUES (%s, %s) RETURNING id",
            (f"flights_{times}", json.dumps(described)),
        )
        (dataset,) = cursor.fetchone() or (0,)
        cursor.execute("SELECT core.shape_dataset(%s)", (dataset,))
        cells = ", ".join(column["physical"] for column in described)
        cursor.copy_expert(f"COPY data_.t_{dataset} ({cells}) FROM STDIN (FORMAT csv, HEADER)", rows, size=1 << 20)
    connection.autocommit = True
    connection.cursor().execute(f"VACUUM ANALYZE data_.t_{dataset}")
    connection.close()
    return int(dataset)


def _rounds(server: PostgresServer, dataset: int, columns: int, times: int) -> dict[str, _Reading]:
    named = ", ".join(f"c{number}" for number in range(1, columns + 1))
    query = f"SELECT ingest_seq, {named} FROM data_.t_{dataset} ORDER BY ingest_seq"
    found: dict[str, _Reading] = {}
    expected: list[str] = []
    for number in range(SIZES[times]):
        for name in ("copy", "ours, first", "ours, again", "adbc", "connectorx", "pandas"):
            if (number or times > 1) and name in _SLOW:
                continue
            if name == "ours, first":
                server.execute("TRUNCATE core.block")
            said = _read(name.partition(",")[0], server.dsn(), dataset, query)
            digests = list(said["digests"].values())
            if digests:
                expected = expected or digests
                assert digests == expected, f"{name} has read something else"
            reading = found.setdefault(name, _Reading())
            reading.seconds.append(said["seconds"])
            reading.peak_mb = max(reading.peak_mb, said["peak_mb"])
            reading.result_mb = said["result_mb"]
    return found


def _read(how: str, dsn: str, dataset: int, query: str) -> dict[str, Any]:
    python = _PEERS if how in {"adbc", "connectorx"} else Path(sys.executable)
    done = subprocess.run(
        [str(python), str(_READERS), how, dsn, str(dataset), query],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PGTZ": "UTC"},
    )
    if done.returncode:
        raise RuntimeError(f"{how} has failed: {done.stderr.strip()[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _table(times: int, rows: int, found: dict[str, _Reading]) -> list[dict[str, Any]]:
    print(
        f"   {rows:,} rows{'':<14}{'rows/s':>12}{'/ copy':>9}{'/ adbc':>9}{'limit':>14}{'peak MB':>9}{'result MB':>11}"
    )
    limits = {"ours, first": ("copy", 0.8), "ours, again": ("adbc", 6.0)}
    figures = []
    for name, reading in found.items():
        rate = rows / statistics.median(reading.seconds)
        beside = {other: _ratio(found[other], reading) for other in ("copy", "adbc")}
        limit = "{1} of {0}".format(*limits[name]) if name in limits else ""
        print(
            f"   {name:<24}{rate:>12,.0f}{beside['copy']:>9.2f}{beside['adbc']:>9.2f}{limit:>14}"
            f"{reading.peak_mb:>9.0f}{reading.result_mb:>11.0f}"
        )
        row = {"what": f"{name}, {times}x", "rows_per_second": rate, "peak_mb": reading.peak_mb}
        row |= {"result_mb": reading.result_mb, "most_mb": reading.result_mb + _MOST_MB}
        figures.append(row | {f"of_{other}": ratio for other, ratio in beside.items()})
    return figures


def _ratio(other: _Reading, reading: _Reading) -> float:
    """Return how many times as fast as ``other`` it is, in the median of the rounds."""
    return statistics.median(o / r for o, r in zip(other.seconds, reading.seconds, strict=False))
