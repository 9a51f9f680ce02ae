"""Predictions over HTTP against the limit of Flask under gunicorn, one row and 1,000 rows.

All servers run under the same gunicorn (gthread, 2 workers, 8 threads) and get the same requests: rows of 30 named
floats. The limit parses JSON, makes an array and multiplies it by a vector: no key, no checks, no model, no log. Ours
does all of its work, the log shipped to the emulator's SQS included. Rounds are interleaved; figures are medians.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.config import load
from trainyard.model import Linear, Model, Number, Pipeline, TreeEnsemble, with_golden
from trainyard.schema import Column, Schema
from trainyard.testing.emulator import AwsEmulator
from trainyard.testing.models import random_trees, sample_model
from trainyard.testing.processes import answers, end, free_port, wait_until
from trainyard.testing.publishing import point_alias, publish_key, publish_version

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = [f"x{n:02}" for n in range(30)]
ROUNDS = 3
SECONDS = 0.7
LOADS = ((1, 1), (1, 8), (1000, 1))  # rows, connections


def run() -> list[dict[str, Any]]:
    """Measure, print the table and return its rows."""
    rng = np.random.default_rng(0)
    rows = [dict(zip(COLUMNS, np.round(rng.normal(size=30), 4).tolist(), strict=True)) for _ in range(1000)]
    with tempfile.TemporaryDirectory() as folder, _emulator(Path(folder)) as environment:
        key = _publish(environment, rows)
        ours = gunicorn("trainyard_predictor.wsgi:app()", environment)
        wrapped = gunicorn("benchmarks.flask_apps:wrapped()", {**environment, "TRAINYARD_SPOOL_DIR": f"{folder}/w"})
        limit = gunicorn("benchmarks.flask_apps:limit()", environment)
        with ours as our_port, wrapped as wrapped_port, limit as limit_port:
            servers = {
                "flask, json + one dot (limit)": (limit_port, "/dot"),
                "trainyard, linear": (our_port, "/v1/predict/linear"),
                "trainyard behind Flask, linear": (wrapped_port, "/v1/predict/linear"),
                "trainyard, 200 trees x 31 leaves": (our_port, "/v1/predict/trees"),
            }
            rates = _measure(servers, key, rows)
    return _table(rates)


@contextmanager
def _emulator(folder: Path) -> Iterator[dict[str, str]]:
    emulator = AwsEmulator(folder / "aws")
    emulator.start()
    try:
        yield {**os.environ, **emulator.environment, "TRAINYARD_SPOOL_DIR": str(folder / "spool")}
    finally:
        emulator.stop()


@contextmanager
def gunicorn(app: str, environment: dict[str, str], *, workers: int = 2) -> Iterator[int]:
    """Serve an application, and give its port."""
    port = free_port()
    # an idle connection is kept as the stack keeps it; else a client that pauses for 2 s writes to a closed one
    threads = ["--worker-class", "gthread", "--threads", "8", "--workers", str(workers), "--keep-alive", "75"]
    command = [sys.executable, "-m", "gunicorn", *threads]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command, "--bind", f"127.0.0.1:{port}", app], env=environment, **quiet)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), app)
        yield port
    finally:
        end(process)


def _publish(environment: dict[str, str], rows: list[dict[str, float]]) -> str:
    """Put a linear model and a tree ensemble into the bucket; return a key that may ask them."""
    config = load(environment)
    access = {"access_key": environment["AWS_ACCESS_KEY_ID"], "secret_key": environment["AWS_SECRET_ACCESS_KEY"]}
    clients = AwsClients(config, **access)
    AwsSetup(clients, config).ensure()
    blobs = S3Blobs(clients.s3, config.bucket)
    for model in _models(rows):
        point_alias(blobs, publish_version(blobs, model, 1), seq=1)
    key = publish_key(blobs, "predict")
    clients.close()
    return key


def _models(rows: list[dict[str, float]]) -> Iterator[Model]:
    rng = np.random.default_rng(1)
    schema = Schema([Column(name, "float") for name in COLUMNS])
    linear = Linear(rng.normal(size=(30, 1)), rng.normal(size=1), "sigmoid")
    trees = TreeEnsemble(**random_trees(200, 5, 30, 1, rng), aggregation="sum", output="sigmoid")
    for name, estimator, impute in (("linear", linear, 0.0), ("trees", trees, None)):
        pipeline = Pipeline(tuple(Number(column, impute=impute) for column in COLUMNS), estimator)
        model = replace(sample_model(), name=name, schema=schema, pipeline=pipeline, golden=None)
        yield with_golden(model, rows[:3])


def _measure(servers: dict[str, tuple[int, str]], key: str, rows: list[Any]) -> dict[tuple[str, int, int], float]:
    found: dict[tuple[str, int, int], list[float]] = {}
    for number in range(ROUNDS + 1):
        for n_rows, connections in LOADS:
            body = json.dumps({"rows": rows[:n_rows]}).encode()
            for name, (port, path) in servers.items():
                rate = _requests_per_second(port, _request(path, key, body), connections, SECONDS if number else 0.2)
                if number:  # the first round warms everything up
                    found.setdefault((name, n_rows, connections), []).append(rate)
    return {load: statistics.median(rates) for load, rates in found.items()}


def _request(path: str, key: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _requests_per_second(port: int, request: bytes, connections: int, seconds: float) -> float:
    """Send the request over and over on each connection, waiting for each answer; every answer must be a 200."""
    counts = [0] * connections
    began = time.monotonic()

    def ask(index: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.monotonic() - began < seconds:
                connection.sendall(request)
                _read_answer(connection)
                counts[index] += 1

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(counts), "a connection failed"
    return sum(counts) / (time.monotonic() - began)


def _read_answer(connection: socket.socket) -> None:
    data = connection.recv(1 << 20)
    while (end_of_head := data.find(b"\r\n\r\n")) < 0:
        data += connection.recv(1 << 20)
    head = data[:end_of_head].lower()
    assert head.startswith(b"http/1.1 200"), data[:200]
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    missing = end_of_head + 4 + length - len(data)
    while missing > 0:
        missing -= len(connection.recv(min(missing, 1 << 20)))


def _table(rates: dict[tuple[str, int, int], float]) -> list[dict[str, Any]]:
    figures = []
    print(f"   {'server':36}{'rows':>6}{'connections':>13}{'requests/s':>12}{'x limit':>9}")
    for (name, n_rows, connections), rate in sorted(rates.items(), key=lambda item: (item[0][1:], item[0][0])):
        limit = next(r for (other, *load), r in rates.items() if "limit" in other and load == [n_rows, connections])
        ratio = round(rate / limit, 2)
        figures.append({"server": name, "rows": n_rows, "connections": connections, "rps": round(rate), "ratio": ratio})
        print(f"   {name:36}{n_rows:>6}{connections:>13}{rate:>12.0f}{ratio:>9.2f}")
    return figures
