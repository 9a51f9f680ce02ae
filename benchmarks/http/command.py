"""Starts all servers, measures them in interleaved rounds, and prints the table."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from benchmarks.bucket import bucket
from benchmarks.http.load import at_rate, most
from benchmarks.http.running import Running
from benchmarks.http.servers import APPS, BINARY, LIMIT, OURS, PEERS, RUNTIME, servers
from trainyard.schema import Column, Schema
from trainyard.testing.publishing import point_alias, publish_key, publish_version
from trainyard_convert import from_sklearn, model_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.http.servers import Rows, Server
    from trainyard.model import Model

COLUMNS = [f"x{n:02}" for n in range(30)]
ROUNDS = 3
SECONDS = 2
#: rows of a request, connections
LOADS = ((1, 1), (1, 16), (1000, 1), (1000, 4))
#: Latency is measured at this share of what the slowest peer with a model can do.
SHARE = 0.7
RATE_SECONDS = 10.0
#: What the product promises, in times of the peer's rate.
LEAST_OF_RUNTIME, LEAST_OF_OTHERS, LEAST_BATCHES = 2.0, 10.0, 2.0
_TEN_TIMES = ("bentoml", "mlserver", "litserve", "mlflow")

Load = tuple[int, int]
Figures = dict[tuple[str, Load], list[float]]


def run() -> dict[str, Any]:
    """Measure, print the table and return its figures."""
    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as name, bucket(Path(name)) as (blobs, environment), ExitStack() as stack:
        folder = Path(name)
        model, rows, expected = _fit(folder, rng)
        point_alias(blobs, publish_version(blobs, model, 1), seq=1)
        running = _started(servers(environment, publish_key(blobs, "predict")), folder, rows, expected, stack)
        rates, processor = _rates(running, rows, folder)
        slowest = min(
            statistics.median(rates[one.name, (1, 16)]) for one in running if one.name not in (OURS, BINARY, LIMIT)
        )
        rate = SHARE * slowest
        latencies = _latencies(running, rows, rate)
    return _table(rates, processor, latencies, rate)


def _fit(folder: Path, rng: np.random.Generator) -> tuple[Model, Rows, list[float]]:
    """Have the model fitted; return ours, the rows that are asked, and what scikit-learn answers to them."""
    x = rng.normal(size=(20_000, len(COLUMNS))).astype(np.float32).astype(np.float64)
    np.save(folder / "fit_x", x)
    np.save(folder / "fit_y", x @ rng.normal(size=x.shape[1]) + np.sin(2 * x[:, 0]) * x[:, 1] + rng.normal(size=len(x)))
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    command = [str(PEERS / "python"), str(APPS / "fit.py"), str(folder)]
    subprocess.run(command, check=True, env=environment, cwd=folder, stderr=subprocess.DEVNULL)
    forest = joblib.load(folder / "model.joblib")
    asked = np.round(rng.normal(size=(1000, len(COLUMNS))), 4).astype(np.float32)
    # as short as people write them, and as exact in single precision as in double
    rows = [dict(zip(COLUMNS, map(float, map(str, row)), strict=True)) for row in asked]
    converted = from_sklearn(forest, Schema([Column(name, "float") for name in COLUMNS]), columns=COLUMNS)
    model = model_of(converted, "trees", "benchmark", rows[:32]).model
    return model, rows, forest.predict(np.array([list(row.values()) for row in rows])).tolist()


def _started(
    table: dict[str, Server], folder: Path, rows: Rows, expected: list[float], stack: ExitStack
) -> list[Running]:
    """Start every server and return those that agree; the others are named."""
    running = []
    for name, server in table.items():
        one = Running(name, server, folder)
        stack.callback(one.end)
        problem = one.wait(rows, None if name == LIMIT else expected)
        if problem is None:
            running.append(one)
        else:
            print(f"   left out: {name}: {problem}")
    return running


def _rates(running: Iterable[Running], rows: Rows, folder: Path) -> tuple[Figures, Figures]:
    """Return requests per second, and milliseconds of processor time per request, of each round."""
    rates: Figures = defaultdict(list)
    processor: Figures = defaultdict(list)
    for number in range(ROUNDS + 1):
        for load in LOADS:
            for one in running:
                server, before = one.server, one.processor_seconds()
                rate = most(
                    one.port, server.path, server.headers, server.request(rows[: load[0]]), connections=load[1],
                    seconds=SECONDS if number else 1, folder=folder,
                )  # fmt: skip
                if number:  # the first round warms everything up
                    rates[one.name, load].append(rate)
                    spent = one.processor_seconds() - before
                    processor[one.name, load].append(1e3 * spent / max(1.0, rate * SECONDS))
    return rates, processor


def _latencies(running: Iterable[Running], rows: Rows, rate: float) -> dict[str, list[float]]:
    """Return the 99th percentile of each round, in milliseconds, all servers being asked equally often."""
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS + 1):
        for one in running:
            body = one.server.request(rows[:1])
            said = {**one.server.headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
            lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
            request = f"POST {one.server.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode() + body
            times = at_rate(one.port, request, rate=rate, seconds=RATE_SECONDS if number else 1.0)
            if number:
                found[one.name].append(float(np.percentile(times, 99)))
    return found


def _table(rates: Figures, processor: Figures, latencies: dict[str, list[float]], rate: float) -> dict[str, Any]:
    figures: dict[str, Any] = {"requests": [], "offered_per_second": rate}
    for load in LOADS:
        print(f"   {load[0]:,} row{'s' * (load[0] > 1)}, {load[1]} connection{'s' * (load[1] > 1)}")
        print(f"   {'server':32}{'requests/s':>12}{'ours / it':>11}{'CPU ms each':>13}{'it / ours':>11}")
        for name in latencies:
            ratio = _ratio(rates[OURS, load], rates[name, load])
            spent = _ratio(processor[name, load], processor[OURS, load])
            own, each = (statistics.median(figure[name, load]) for figure in (rates, processor))
            print(f"   {name:32}{own:>12.1f}{ratio:>11.2f}{each:>13.3f}{spent:>11.2f}")
            figures["requests"].append(
                {"server": name, "rows": load[0], "connections": load[1], "rate": own, "ratio": ratio,
                 "cpu_ms": each, "cpu_ratio": spent}
            )  # fmt: skip
    print(f"   p99 in ms at {rate:.0f} requests/s of one row ({SHARE:.0%} of the slowest peer's most), by round")
    for name, rounds in latencies.items():
        print(f"   {name:32}" + "".join(f"{value:>10.2f}" for value in rounds))
    figures["p99_ms"] = latencies
    print(
        f"   promised: one row at least {LEAST_OF_RUNTIME:g} times {RUNTIME} and {LEAST_OF_OTHERS:g} times "
        f"{', '.join(_TEN_TIMES)}; 1,000 rows {LEAST_BATCHES:g} times the best peer; p99 below every peer's"
    )
    return figures


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
