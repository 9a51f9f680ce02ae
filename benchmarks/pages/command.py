"""``python -m benchmarks pages [--share 0.01]``: a stack, the fixture, the pages, and the table."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import sqlalchemy as sa
from tests.e2e.conftest import COLUMNS, Shoppers
from tests.e2e.stack import Stack, wait_until

from benchmarks.pages.fixture import Size, grow
from trainyard.config import load
from trainyard_embedded import commands

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_MS = 150.0
LOOKS, WARM = 20, 3
_IDLE_SECONDS = 10
#: One policy: it trains once on the first rows, and then leaves the machine alone.
_POLICY = {
    "min_new_rows": 1_000_000_000, "budget_seconds": 600, "budget_trials": 2, "kinds": ["linear"],
    "gate": {"min_rows": 50},
    "monitoring": {"window": "30d"},
}  # fmt: skip
#: As many that home looks at, and more, which a list has.
_MODELS = 30
PAGES = (
    "/", "/sign-in", "/datasets", "/datasets/new", "/datasets/shop", "/datasets/shop/batches/{batch}",
    "/datasets/shop/delete", "/models", "/models/new", "/models/buys", "/models/buys/policy", "/models/buys/decisions",
    "/models/buys/history", "/models/buys/delete",
    "/models/buys/versions/{version}", "/models/buys/versions/{version}/promote",
    "/models/buys/compare?a=1&b={version}", "/runs", "/runs?model=buys", "/runs?model=other_00",
    "/runs?cursor={run}", "/runs/{run}",
    "/runs/{run}/logs", "/try", "/try/buys", "/quality", "/quality/buys", "/quality/buys?hours=720",
    "/quality/buys/predictions", "/quality/buys/predictions/p{prediction}", "/operations",
    "/operations/fleet", "/operations/deployments", "/operations/queues/training", "/operations/keys",
    "/operations/audit", "/operations/doctor",
)  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Run with options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks pages", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the fixture: 0.01 for a quick look (default: 1)")
    run(share=parser.parse_args(arguments).share)


def run(*, share: float = 1.0) -> list[dict[str, Any]]:
    """Make the fixture, measure every page, print the table and return its rows."""
    whole = Size()
    size = Size(*(max(1_000, int(share * number)) for number in vars(whole).values()))
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data")
        stack.start()
        try:
            _train(stack)
            engine = _database(stack)
            began = time.monotonic()
            grow(engine, size, lambda what: print(f"   {time.monotonic() - began:>6.0f} s: {what}", flush=True))
            rows = _measured(stack, engine, size)
            engine.dispose()
        finally:
            stack.stop()
    print(f"   {size}; {LOOKS} looks at each page, limit {LIMIT_MS:.0f} ms")
    print(f"   load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    print(f"   {'page':<44}{'processor ms':>14}{'median ms':>11}{'p95 ms':>9}{'p95 / limit':>13}")
    for row in rows:
        print(
            f"   {row['page']:<44}{row['processor_ms']:>14.0f}{row['median_ms']:>11.0f}{row['p95_ms']:>9.0f}"
            f"{row['ratio']:>13.2f}"
        )
    return rows


def _train(stack: Stack) -> None:
    """Have one real version made, promoted and asked."""
    shoppers = Shoppers(1)
    stack.call("PUT", "/v1/datasets/shop", json={"columns": COLUMNS})
    stack.call("POST", "/v1/datasets/shop/rows", json={"rows": shoppers.rows(1_000)})
    for name in ("buys", *(f"other_{i:02d}" for i in range(_MODELS))):
        stack.call("PUT", f"/v1/models/{name}", json={"dataset": "shop", "label": "bought", "policy": _POLICY})
    asked = stack.call("POST", "/v1/models/buys/requests", json={})
    wait_until(
        lambda: stack.call("GET", f"/v1/requests/{asked['id']}")["state"] == "done", seconds=300, what="a version"
    )
    wait_until(
        lambda: stack.call("GET", "/v1/datasets/shop/profile")["reported"], seconds=120, what="the report of the batch"
    )
    (batch,) = stack.items("/v1/datasets/shop/batches")
    assert stack.call("GET", f"/v1/batches/{batch['id']}")["report"]["columns"]


def _database(stack: Stack) -> sa.Engine:
    found = commands.status(load({"TRAINYARD_DATA_DIR": str(stack.data_dir)}))
    if found.ready is None:
        raise RuntimeError("the stack is not ready")
    return sa.create_engine(sa.make_url(found.ready.database_url).set(drivername="postgresql+psycopg2"))


def _measured(stack: Stack, engine: sa.Engine, size: Size) -> list[dict[str, Any]]:
    ready = commands.status(load({"TRAINYARD_DATA_DIR": str(stack.data_dir)})).ready
    if ready is None:
        raise RuntimeError("the stack is not ready")
    link = commands.console_link(ready)
    origin = urlsplit(link)._replace(path="", query="").geturl()
    with engine.connect() as connection:
        run_id = connection.execute(sa.text("SELECT md5('run1')::uuid::text")).scalar_one()
        batch_id = connection.execute(
            sa.text("SELECT md5('batch' || :n)::uuid::text"), {"n": size.rows // 1_000}
        ).scalar_one()
    values = {"run": run_id, "batch": batch_id, "version": size.versions, "prediction": size.predictions // 2}
    with requests.Session() as session:
        session.get(link, timeout=30).raise_for_status()
        idle = _idle(stack)
        return [_look(stack, idle, session, page, origin + page.format(**values)) for page in PAGES]


def _idle(stack: Stack) -> float:
    """Return the part of a processor that the stack takes while nobody looks."""
    began, used = time.perf_counter(), stack_seconds(stack)
    time.sleep(_IDLE_SECONDS)
    return (stack_seconds(stack) - used) / (time.perf_counter() - began)


def stack_seconds(stack: Stack) -> float:
    """Return the processor time that the stack's processes have taken so far, the database's too, as Linux tells it."""
    if stack.process is None:
        raise RuntimeError("the stack has not been started")
    parents, ticks = {}, {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = file.read_text().rpartition(")")[2].split()
            parents[int(file.parent.name)] = int(fields[1])
            ticks[int(file.parent.name)] = int(fields[11]) + int(fields[12])
    ours = {stack.process.pid}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks.get(one, 0) for one in ours) / os.sysconf("SC_CLK_TCK")


def _look(stack: Stack, idle: float, session: requests.Session, page: str, address: str) -> dict[str, Any]:
    taken, first, used = [], 0.0, 0.0
    for number in range(WARM + LOOKS):
        if number == WARM:
            first, used = time.perf_counter(), stack_seconds(stack)
        began = time.perf_counter()
        answer = session.get(address, timeout=60)
        taken.append(1e3 * (time.perf_counter() - began))
        if answer.status_code != 200:
            raise RuntimeError(f"{address}: {answer.status_code} {answer.text[:300]}")
    worked = stack_seconds(stack) - used - idle * (time.perf_counter() - first)
    looks = sorted(taken[WARM:])
    p95 = looks[math.ceil(0.95 * len(looks)) - 1]
    return {
        "page": page, "processor_ms": 1e3 * max(0.0, worked) / LOOKS, "median_ms": statistics.median(looks),
        "p95_ms": p95, "limit_ms": LIMIT_MS, "ratio": p95 / LIMIT_MS, "looks": len(looks),
    }  # fmt: skip
