"""The loop's two waits, on a whole embedded stack: rows committed -> trainer at work, promotion -> first answer.

Each figure stands beside the limit that the project sets itself. Times are the database's own (a batch's is the start
of its transaction, so the wait is over-estimated) and this machine's clock, which is the same one.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from tests.e2e.conftest import COLUMNS, Shoppers
from tests.e2e.stack import Stack, wait_until

ROUNDS = 5
LIMITS = {"warm": 3.0, "zero": 10.0, "promotion": 5.0}
POLICY = {"min_new_rows": 300, "budget_seconds": 5, "kinds": ["linear"], "gate": {"min_rows": 50}}
IDLE_SECONDS = 4


def run() -> list[dict[str, Any]]:
    """Measure, print the table and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data", settings={"TRAINYARD_IDLE_SECONDS": str(IDLE_SECONDS)})
        stack.start()
        try:
            shoppers = Shoppers(1)
            stack.call("PUT", "/v1/datasets/shop", json={"columns": COLUMNS})
            stack.call("PUT", "/v1/models/buys", json={"dataset": "shop", "label": "bought", "policy": POLICY})
            zero = [_commit_to_work(stack, shoppers, from_zero=True) for _ in range(ROUNDS)]
            warm = [_commit_to_work(stack, shoppers, from_zero=False) for _ in range(ROUNDS)]
            waits, answers, failures = _promotion(stack, shoppers)
        finally:
            stack.stop()
    rows = [
        _row("commit -> trainer at work, from zero", zero, LIMITS["zero"]),
        _row("commit -> trainer at work, worker up", warm, LIMITS["warm"]),
        _row("promotion -> first answer by the version", waits, LIMITS["promotion"]),
    ]
    print(f"   {'':<44}{'median s':>9}{'worst s':>9}{'limit s':>9}{'worst / limit':>15}")
    for row in rows:
        print(f"   {row['what']:<44}{row['median']:>9.2f}{row['worst']:>9.2f}{row['limit']:>9.0f}{row['ratio']:>15.2f}")
    print(f"   steady requests during the promotions: {answers:,} answered, {failures} failed")
    return [*rows, {"what": "steady requests", "answered": answers, "failed": failures}]


def _row(what: str, seconds: list[float], limit: float) -> dict[str, Any]:
    worst = max(seconds)
    return {
        "what": what,
        "median": statistics.median(seconds),
        "worst": worst,
        "limit": limit,
        "ratio": worst / limit,
        "rounds": len(seconds),
    }


def _commit_to_work(stack: Stack, shoppers: Shoppers, *, from_zero: bool) -> float:
    """Push rows over the threshold and return the seconds until a run has begun."""
    before = len(stack.items("/v1/runs"))
    if from_zero:
        wait_until(lambda: not _alive(stack), seconds=60, what="a fleet of zero")
    batch = stack.call("POST", "/v1/datasets/shop/rows", json={"rows": shoppers.rows(400)})
    runs = wait_until(lambda: stack.items("/v1/runs")[: -before or None], seconds=60, what="a run", every=0.05)
    wait_until(lambda: stack.items("/v1/runs")[0]["state"] == "done", seconds=60, what="the end of the run")
    return (datetime.fromisoformat(runs[0]["started_at"]) - datetime.fromisoformat(batch["created_at"])).total_seconds()


def _alive(stack: Stack) -> list[Any]:
    return [i for i in stack.call("GET", "/v1/fleet")["instances"] if i["state"] in {"pending", "running"}]


def _promotion(stack: Stack, shoppers: Shoppers) -> tuple[list[float], int, int]:
    """Move the champion to and fro under steady requests; return the waits, the answers and the failures."""
    seen: list[tuple[float, int]] = []
    failures: list[str] = []
    stop = threading.Event()
    row = {name: shoppers.rows(1)[0][name] for name in ("age", "income", "city")}

    def ask() -> None:
        with requests.Session() as session:
            session.headers.update(stack.session.headers)
            while not stop.is_set():
                response = session.post(stack.ready["url"] + "/v1/predict/buys", json={"rows": [row]}, timeout=10)
                if response.ok:
                    seen.append((time.time(), response.json()["version"]))
                else:
                    failures.append(response.text)
                time.sleep(0.005)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        waits = [_move(stack, version, seen) for version in (1, 2) * ROUNDS]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return waits, len(seen), len(failures)


def _move(stack: Stack, version: int, seen: list[tuple[float, int]]) -> float:
    alias = stack.call("PUT", "/v1/models/buys/aliases/champion", json={"version": version})
    moved = datetime.fromisoformat(alias["updated_at"]).timestamp()

    def first() -> float | None:
        return next((at for at, answered in list(seen) if at > moved and answered == version), None)

    wait_until(lambda: first() is not None, seconds=30, what="an answer by the new champion", every=0.02)
    # Both workers have changed over before the next move, so that no answer of this round is taken for the next.
    time.sleep(2.5)
    return (first() or moved) - moved
