"""What one training request costs the database over its whole life, through the real use cases on a real Postgres.

Rows arrive, the policy fires, the relay sends, a trainer claims, beats, keeps its trials and publishes; the policy is
evaluated meanwhile. The time of every statement, COMMIT and ping is summed as the client sees it: with the way there
and back, and with the disk (fsync is on). The queue is the fake one: it costs the database nothing.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.clock import ManualClock
from trainyard.contracts.runs import NewVersion, Trial
from trainyard.messages import TrainingRequest, decode
from trainyard.policy import Policy
from trainyard.testing.fakes import MemoryQueue
from trainyard.testing.postgres import PostgresServer
from trainyard_scheduler.use_cases import policies, relay
from trainyard_scheduler.use_cases.resend import Reconciler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUESTS = 40
#: A search of the default budget of 60 s beats each 20 s.
BEATS = 4
TRIALS = 20
#: Evaluations by ticks meanwhile, each 15 s.
TICKS = 4
LIMIT_MS = 50.0
ROWS = 1000


class Stopwatch:
    """Sums the time that an engine's connections wait for the database, by the phase that is going on."""

    def __init__(self, engine: sa.Engine) -> None:
        self.phase = ""
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._began = 0.0
        sa.event.listen(engine, "before_cursor_execute", self._begin)
        sa.event.listen(engine, "after_cursor_execute", self._end)
        for name in ("do_commit", "do_rollback", "do_ping"):
            setattr(engine.dialect, name, partial(self._timed, getattr(engine.dialect, name)))

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Book what happens in the block under ``phase``."""
        self.phase = phase
        yield
        self.phase = ""

    def _begin(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _end(self, *_: object) -> None:
        self._book(time.perf_counter() - self._began)

    def _timed(self, call: Callable[[Any], Any], connection: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(connection)
        finally:
            self._book(time.perf_counter() - began)

    def _book(self, seconds: float) -> None:
        self.seconds[self.phase] += seconds
        self.calls[self.phase] += 1


def run() -> list[dict[str, Any]]:
    """Measure, print the table and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        postgres = PostgresServer(Path(folder), durable=True)
        postgres.start()
        try:
            migrate(postgres.url())
            engine = make_engine(postgres.url(), service="benchmark")
            lives = _lives(engine)
            engine.dispose()
        finally:
            postgres.stop()
    phases = list(lives[0])
    rows = [_row(phase, [life[phase][0] for life in lives], lives[0][phase][1]) for phase in phases]
    whole = _row("a request's whole life", [sum(ms for ms, _ in life.values()) for life in lives], 0)
    whole["calls"] = sum(calls for _, calls in lives[0].values())
    whole |= {"limit": LIMIT_MS, "ratio": round(whole["median"] / LIMIT_MS, 2)}
    print(f"   {'time of the database':<40}{'median ms':>11}{'worst ms':>10}{'calls':>7}{'limit ms':>10}{'/ limit':>9}")
    for row in [*rows, whole]:
        limit = f"{row['limit']:>10.0f}{row['ratio']:>9.2f}" if "limit" in row else ""
        print(f"   {row['what']:<40}{row['median']:>11.2f}{row['worst']:>10.2f}{row['calls']:>7}{limit}")
    return [*rows, whole]


def _row(what: str, times: list[float], calls: int) -> dict[str, Any]:
    return {"what": what, "median": statistics.median(times), "worst": max(times), "calls": calls}


def _lives(engine: sa.Engine) -> list[dict[str, tuple[float, int]]]:
    """Serve the requests one after the other; return milliseconds and calls of each phase of each."""
    store, runs = PostgresStore(engine), PostgresRuns(engine)
    queue = MemoryQueue(ManualClock())
    reconciler = Reconciler(store, resend_seconds=120, queue_made_at=lambda: 0.0)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO core.dataset (name, columns) VALUES ('d', '[]')")
    with store.begin() as records:
        dataset = records.models.dataset("d")
        assert dataset is not None
        records.models.add("m", dataset.id, label="y", task="auto", policy=Policy(min_new_rows=ROWS, max_age=1e6))
    watch = Stopwatch(engine)
    lives = []
    for _ in range(REQUESTS + 1):
        watch.phase = "not counted"
        with engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE core.dataset SET last_seq = last_seq + {ROWS}")
        watch.seconds.clear()
        watch.calls.clear()
        _serve(store, runs, queue, reconciler, watch)
        lives.append({phase: (s * 1000, watch.calls[phase]) for phase, s in watch.seconds.items()})
    return lives[1:]  # the first one warms everything up


def _serve(
    store: PostgresStore, runs: PostgresRuns, queue: MemoryQueue, reconciler: Reconciler, watch: Stopwatch
) -> None:
    """Let one request be made, sent, taken and published."""
    with watch.during("evaluate, insert request and message"):
        assert policies.evaluate_models(store) == 1
    with watch.during("relay"):
        relay.relay_all(store, {"training": queue})
    (message,) = queue.receive(limit=1, wait_seconds=0, visibility_seconds=60)
    pointer = decode(message.type, message.body)
    assert isinstance(pointer, TrainingRequest)
    with watch.during("claim"):
        claim = runs.claim(
            pointer.request_id, worker="benchmark", instance_id=None, instance_type=None, lease_seconds=60
        )
    assert claim.job is not None
    with watch.during(f"{BEATS} heartbeats with progress"):
        for done in range(BEATS):
            progress = {"stage": "search", "done": done, "total": BEATS, "message": ""}
            runs.beat(claim.job.lease, lease_seconds=60, progress=progress)
    with watch.during("reconciler, once"):
        reconciler.step()
    with watch.during(f"{TICKS} more evaluations"):
        for _ in range(TICKS):
            policies.evaluate_model(store, "m")
    trials = [Trial(number, "linear", {"strength": 1.0}, {"loss": 0.5}, 1.0, number == 0) for number in range(TRIALS)]
    with watch.during(f"{TRIALS} trials, kept one by one"):
        for trial in trials:
            runs.keep_trials(claim.job.lease, [trial])
    version = NewVersion(
        artifact_key=f"models/m/{pointer.request_id}.msgpack",
        sha256=pointer.request_id,
        size_bytes=10_000,
        snapshot_rows=ROWS,
        snapshot_hash="0" * 64,
        holdout={"rule": "hash", "test_rows": 200},
        metrics={"log_loss": 0.5},
        gate={"summary": "passed: better", "passed": True},
        passed=True,
        trials=trials,
    )
    with watch.during("publish version and alias"):
        assert runs.publish(claim.job.lease, version, compared_with=claim.job.champion).promoted
    queue.delete(message.receipt)
