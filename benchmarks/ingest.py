r"""Rows in over HTTP against ``psql \copy`` of the same clean CSV into a table of the same making.

From the first byte sent to the committed answer: gunicorn, key, checks, COPY, ledger, COMMIT; Postgres waits for its
disk. The limit is psql's own COPY, unchecked, into an empty table with the same columns, index and numbering. Rounds
are interleaved; figures are medians. Memory is the service's peak above what it held when it had just started.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from benchmarks import flights
from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.postgres.migrate import migrate
from trainyard.config import load
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY, AwsEmulator
from trainyard.testing.postgres import PostgresServer, binaries
from trainyard.testing.processes import GUNICORN, answers, end, free_port, wait_until
from trainyard.testing.publishing import publish_key

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS, LARGE_ROUNDS = 9, 3
#: JSON bodies are read whole and may have 64 MiB.
JSON_ROWS = 150_000
_PIECE_BYTES = 1 << 20
_MB = 1024  # of the kilobytes in /proc


@dataclass(frozen=True)
class Load:
    """A body, how often it is sent, and the share of psql's rows per second, or of our CSV's, that it must reach."""

    name: str
    path: Path
    content_type: str
    rows: int
    limit: float
    times: int = 1
    rounds: int = ROUNDS
    of: str = "psql"


def run() -> list[dict[str, Any]]:
    """Measure, print the table and return its rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header, loads = _loads(folder)
        with _postgres(folder) as postgres, _service(folder, postgres) as service:
            bench = _Bench(postgres, service, header)
            figures = bench.measure(loads)
    return _table(loads, figures)


def _loads(folder: Path) -> tuple[list[str], list[Load]]:
    header, body = flights.rows()
    rows = len(body)
    once = flights.write_csv(folder / "flights.csv", header, body)
    ten = flights.write_csv(folder / "ten.csv", header, body, times=10)
    bad = flights.write_csv(folder / "bad.csv", header, body, bad_every=100)
    packed = flights.write_parquet(folder / "flights.parquet", once, header)
    ndjson = flights.write_json(folder / "flights.ndjson", header, body, lines=True)
    array = flights.write_json(folder / "flights.json", header, body[:JSON_ROWS], lines=False)
    return header, [
        Load("CSV", once, "text/csv", rows, 0.9),
        Load("CSV, ten times", ten, "text/csv", 10 * rows, 0.9, times=10, rounds=LARGE_ROUNDS),
        Load("CSV, 1 % rejected", bad, "text/csv", rows, 0.5),
        Load("NDJSON", ndjson, "application/x-ndjson", rows, 0.5, of="CSV"),
        Load("Parquet", packed, "application/vnd.apache.parquet", rows, 0.5, of="CSV"),
        Load(f"JSON, {JSON_ROWS:,} rows", array, "application/json", JSON_ROWS, 1 / 3, of="CSV"),
    ]


@dataclass(frozen=True)
class _Service:
    port: int
    key: str
    worker: int  # its process id


@contextmanager
def _postgres(folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(folder / "pg", durable=True)
    server.start()
    try:
        migrate(server.url())
        yield server
    finally:
        server.stop()


@contextmanager
def _service(folder: Path, postgres: PostgresServer) -> Iterator[_Service]:
    emulator = AwsEmulator(folder / "aws")
    emulator.start()
    environment = {
        **os.environ,
        **emulator.environment,
        "TRAINYARD_DATABASE_URL": postgres.url(),
        "TRAINYARD_WORK_DIR": str(folder / "work"),
        "TRAINYARD_ENV": "test",
    }
    config = load(environment)
    clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    AwsSetup(clients, config).ensure()
    key = publish_key(S3Blobs(clients.s3, config.bucket), "operate", "ingest", "admin", "read")
    clients.close()
    port = free_port()
    command = [sys.executable, "-m", *GUNICORN, "--bind", f"127.0.0.1:{port}", "trainyard_ingest.wsgi:app()"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, **quiet)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the ingest service")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield _Service(port, key, int(children[0]))
    finally:
        end(process)
        emulator.stop()


class _Bench:
    """Rounds of both sides, each into an empty table."""

    def __init__(self, postgres: PostgresServer, service: _Service, header: list[str]) -> None:
        self._postgres = postgres
        self._service = service
        self._header = header
        self._numbers = 0
        self._idle = self._memory("VmRSS")

    def measure(self, loads: list[Load]) -> dict[str, dict[str, list[float]]]:
        """Return seconds and megabytes of each load, and psql's seconds beside them."""
        found: dict[str, dict[str, list[float]]] = {}
        limit: dict[int, list[float]] = {}
        self._send(loads[0])  # warms everything up
        for number in range(ROUNDS):
            for load_ in loads:
                if number >= load_.rounds:
                    continue
                if load_.limit == 0.9:
                    limit.setdefault(load_.times, []).append(self._psql(load_) / load_.rows)
                seconds, megabytes = self._send(load_)
                figures = found.setdefault(load_.name, {"seconds": [], "mb": [], "psql": []})
                figures["seconds"].append(seconds)
                figures["mb"].append(megabytes)
                figures["psql"].append(limit[load_.times][-1])
        return found

    def _dataset(self) -> str:
        self._numbers += 1
        name = f"flights_{self._numbers}"
        self._ask("PUT", f"/v1/datasets/{name}", json.dumps({"columns": flights.schema(self._header)}).encode())
        self._postgres.execute("CHECKPOINT")
        return name

    def _drop(self, name: str) -> None:
        self._ask("DELETE", f"/v1/datasets/{name}", b"")

    def _psql(self, load_: Load) -> float:
        name = self._dataset()
        table, columns = self._scalar(
            "SELECT format('data_.t_%%s', id), (SELECT string_agg('c' || n, ',' ORDER BY n)"
            " FROM generate_series(1, jsonb_array_length(columns)) n) FROM core.dataset WHERE name = %s",
            name,
        )
        command = f"\\copy {table} ({columns}) from '{load_.path}' with (format csv, header true)"
        began = time.perf_counter()
        subprocess.run([str(binaries() / "psql"), self._postgres.dsn(), "-qc", command], check=True)
        seconds = time.perf_counter() - began
        self._check(table, load_.rows)
        self._drop(name)
        return seconds

    def _send(self, load_: Load) -> tuple[float, float]:
        """Send one body; return seconds and the service's peak above what it held when idle, in MB."""
        name = self._dataset()
        Path(f"/proc/{self._service.worker}/clear_refs").write_text("5")  # the peak begins anew
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=600)
        connection.connect()
        with load_.path.open("rb") as body:
            connection.putrequest("POST", f"/v1/datasets/{name}/rows")
            for header, value in (
                ("Authorization", f"Bearer {self._service.key}"),
                ("Content-Type", load_.content_type),
                ("Content-Length", str(load_.path.stat().st_size)),
            ):
                connection.putheader(header, value)
            began = time.perf_counter()
            connection.endheaders()
            while piece := body.read(_PIECE_BYTES):
                connection.send(piece)
            answer = connection.getresponse()
            content = json.loads(answer.read())
            seconds = time.perf_counter() - began
        connection.close()
        if answer.status != 201:
            raise RuntimeError(f"{load_.name} was answered with {answer.status}: {content}")
        (table,) = self._scalar("SELECT format('data_.t_%%s', id) FROM core.dataset WHERE name = %s", name)
        self._check(table, content["rows"])
        peak = self._memory("VmHWM") - self._idle
        self._drop(name)
        return seconds, peak / _MB

    def _check(self, table: str, rows: int) -> None:
        (stored,) = self._scalar(f"SELECT count(*) FROM {table}")
        if stored != rows:
            raise RuntimeError(f"{table} has {stored:,} rows, not {rows:,}")

    def _scalar(self, statement: str, *values: Any) -> Any:
        with psycopg2.connect(self._postgres.dsn()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            row = cursor.fetchone()
        connection.close()
        return row

    def _ask(self, method: str, path: str, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=60)
        headers = {"Authorization": f"Bearer {self._service.key}", "Content-Type": "application/json"}
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {said[:300]!r}")

    def _memory(self, field: str) -> int:
        status = Path(f"/proc/{self._service.worker}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field + ":"))


def _table(loads: list[Load], figures: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    print(f"   {'':<24}{'rows/s':>10}{'psql rows/s':>13}{'ratio':>8}{'limit':>7} {'of':<5}{'peak MB':>9}")
    rows = []
    plain = statistics.median(loads[0].rows / s for s in figures[loads[0].name]["seconds"])
    for load_ in loads:
        found = figures[load_.name]
        rate = load_.rows / statistics.median(found["seconds"])
        psql = 1 / statistics.median(found["psql"])
        ratio = statistics.median(p * load_.rows / s for p, s in zip(found["psql"], found["seconds"], strict=True))
        if load_.of == "CSV":
            ratio = rate / plain
        row = {"what": load_.name, "rows_per_second": rate, "psql": psql, "ratio": ratio, "limit": load_.limit}
        rows.append(row | {"peak_mb": max(found["mb"])})
        print(
            f"   {load_.name:<24}{rate:>10,.0f}{psql:>13,.0f}{ratio:>8.2f}{load_.limit:>7.2f} {load_.of:<5}"
            f"{max(found['mb']):>9.0f}"
        )
    return rows
