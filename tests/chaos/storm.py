"""The storm: many requests, few workers, a queue that lies, processes that are killed and a database that goes away.

``python tests/chaos/storm.py --requests 300 --kills 25`` runs one, prints its figures as JSON and ends with 0 when
nothing was lost, doubled or stuck. ``--seed`` replays a plan of faults: which process is killed after how many finished
requests, and when the database goes for how long. (What runs when, the machine decides: a plan is repeated, not a run.)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from ground import SCHEDULER, TRAINER, Ground, end_on_signals, wait_for
from history import Effect, Entry, History, check

from trainyard.auth import make_key
from trainyard.errors import TransientError
from trainyard.testing.nasty_sqs import Nastiness, NastySqs
from trainyard.testing.processes import GUNICORN, answers, end, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ground import Keeper, Yard

NASTY = Nastiness(redeliver=0.3, reorder=0.2, delay=0.1, delay_seconds=3)
#: Leases of 6 s: a database that is away for 2 s costs no attempt, as one that is away for 20 s costs none at 60 s.
_LEASE_SECONDS = 6
_MODELS = 40
_SECONDS_PER_REQUEST = 4.0
_PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Kill:
    """One kill -9: of the ``victim``-th process, ``delay`` seconds after that many requests were done."""

    after_done: int
    delay: float
    victim: int


@dataclass(frozen=True)
class Plan:
    """What will go wrong, all of it drawn from the seed."""

    seed: int
    requests: int
    workers: int
    kills: tuple[Kill, ...]
    outages: tuple[tuple[float, float], ...]
    """(seconds until Postgres goes, seconds that it is away), for as long as the storm lasts."""

    @classmethod
    def draw(cls, seed: int, requests: int, kills: int, workers: int) -> Plan:
        """Draw a plan."""
        drawn = random.Random(seed)
        victims = workers + 2  # the two schedulers as well
        struck = sorted((drawn.randrange(requests), drawn.random(), drawn.randrange(victims)) for _ in range(kills))
        outages = tuple((drawn.uniform(5, 40), drawn.uniform(0, 2)) for _ in range(1_000))
        return cls(seed, requests, workers, tuple(Kill(*kill) for kill in struck), outages)


def run_storm(plan: Plan, directory: Path) -> dict[str, Any]:
    """Run one storm on a ground of its own in ``directory``; return its figures, ``clean`` among them."""
    with (
        Ground(directory, durable=True) as ground,
        NastySqs(ground.aws.endpoint, NASTY, seed=plan.seed) as shim,
        ground.yard(
            aws_endpoint=shim.endpoint,
            TRAINYARD_LEASE_SECONDS=str(_LEASE_SECONDS),
            TRAINYARD_RESEND_SECONDS=str(2 * _LEASE_SECONDS),
            TRAINYARD_POLICY_TICK_SECONDS="60",
            TRAINYARD_ADMIN_KEY_FILE=str(directory / "admin.key"),
        ) as yard,
    ):
        return _Storm(plan, ground, shim, yard).run()


class _Storm:
    def __init__(self, plan: Plan, ground: Ground, shim: NastySqs, yard: Yard) -> None:
        self._plan = plan
        self._ground = ground
        self._shim = shim
        self._yard = yard
        self._history = History(yard.directory / "history.jsonl")
        self._over = threading.Event()
        self._done = 0
        self._kills = self._outages = 0
        self._key = make_key()
        self._models = [f"m{number}" for number in range(min(_MODELS, plan.requests))]

    def run(self) -> dict[str, Any]:
        begun = time.monotonic()
        (self._ground.directory / "admin.key").write_text(self._key)
        self._yard.add_rows()
        for model in self._models:
            self._yard.make_model(model, min_new_rows=None)
        keepers = [self._yard.keep(TRAINER) for _ in range(self._plan.workers)]
        keepers += [self._yard.keep(SCHEDULER) for _ in range(2)]
        with self._web() as url:
            faults = [
                threading.Thread(target=self._kill, args=(keepers,)),
                threading.Thread(target=self._take_postgres_away),
            ]
            for thread in faults:
                thread.start()
            try:
                self._ask_for_all(url)
            finally:
                self._over.set()
                for thread in faults:
                    thread.join(120)
            stuck = self._stuck()
            figures = self._figures(stuck)
        return {**figures, "seconds": round(time.monotonic() - begun, 1)}

    # --- the client ---

    def _ask_for_all(self, url: str) -> None:
        """Ask for everything, at most one open request for each model; return when all is done or time is over."""
        deadline = time.monotonic() + _PATIENCE_SECONDS + _SECONDS_PER_REQUEST * self._plan.requests
        left, free, waiting = self._plan.requests, list(self._models), {}
        with ExitStack() as stack:
            clients = stack.enter_context(ThreadPoolExecutor(4))
            stack.callback(self._over.set)  # a client that still asks gives up: its pool waits for it
            while (left or waiting) and time.monotonic() < deadline:
                batch, free = free[:left], free[left:]
                left -= len(batch)
                for entry in clients.map(lambda model: self._ask(url, model, deadline), batch):
                    waiting[entry.request_id] = entry.model
                time.sleep(_LOOK_SECONDS)
                for ident in self._newly_done(waiting):
                    free.append(waiting.pop(ident))
                    self._done += 1

    def _ask(self, url: str, model: str, deadline: float) -> Entry:
        """Ask once, however many tries it takes: the key of the request makes them one."""
        key = str(uuid.uuid4())
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": key}
        tries = 0
        while True:
            tries += 1
            try:
                answer = requests.post(f"{url}/v1/models/{model}/requests", json={}, headers=headers, timeout=15)
                if answer.status_code == 201:
                    entry = Entry(key, model, answer.json()["id"], tries)
                    self._history.accepted(entry)
                    return entry
                said = f"{answer.status_code} {answer.text[:200]}"
                if answer.status_code < 500 and answer.status_code not in (401, 409, 429):
                    raise AssertionError(said)
            except requests.RequestException as e:
                said = repr(e)
            if time.monotonic() > deadline or self._over.is_set():
                raise TimeoutError(f"asking for {model} was never answered: {said}")
            time.sleep(0.2)

    def _newly_done(self, waiting: dict[str, str]) -> list[str]:
        ended = "SELECT id::text FROM core.training_request WHERE state NOT IN ('queued', 'running')"
        try:
            return [row["id"] for row in self._yard.rows(ended) if row["id"] in waiting]
        except TransientError:
            return []

    @contextmanager
    def _web(self) -> Iterator[str]:
        """Run the scheduler's web service; yield its address."""
        port = free_port()
        command = [*GUNICORN, "--bind", f"127.0.0.1:{port}", "trainyard_scheduler.wsgi:app()"]
        with (self._yard.directory / "web.log").open("ab") as log:
            web = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self._yard.environment,
                stdout=log,
                stderr=log,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{url}/healthz"), "the scheduler's web service", seconds=60)
            yield url
        finally:
            end(web)

    # --- the faults ---

    def _kill(self, keepers: list[Keeper]) -> None:
        for kill in self._plan.kills:
            while self._done < kill.after_done and not self._over.wait(_LOOK_SECONDS):
                pass
            if self._done < kill.after_done:
                return  # the storm was broken off
            self._over.wait(kill.delay)
            keepers[kill.victim].kill()
            self._kills += 1

    def _take_postgres_away(self) -> None:
        for after, away in self._plan.outages:
            if self._over.wait(after):
                return
            self._ground.postgres.kill()
            time.sleep(away)
            self._start_postgres()
            self._outages += 1

    def _start_postgres(self) -> None:
        """Start it, again when the last one's processes have not let go of its memory yet."""
        for _ in range(20):
            try:
                self._ground.postgres.start()
            except RuntimeError:
                time.sleep(0.5)
            else:
                return
        raise RuntimeError("Postgres did not start again")

    # --- the verdict ---

    def _stuck(self) -> list[str]:
        """Wait for rest; return what keeps from it."""
        found: list[str] = []

        def rest() -> bool:
            found[:] = self._yard.settled()
            return not found

        try:
            wait_for(rest, "rest", seconds=_PATIENCE_SECONDS)
        except TimeoutError:
            return found
        return []

    def _figures(self, stuck: list[str]) -> dict[str, Any]:
        effects = [
            Effect(**row)
            for row in self._yard.rows(
                "SELECT r.id::text AS request_id, m.name AS model, r.state,"
                " (SELECT count(*) FROM core.version v WHERE v.request_id = r.id) AS versions"
                " FROM core.training_request r JOIN core.model m ON m.id = r.model_id"
            )
        ]
        verdict = check(self._history.entries, effects)
        referenced = {row["artifact_key"] for row in self._yard.rows("SELECT artifact_key FROM core.version")}
        attempts = self._yard.rows("SELECT attempt, count(*) AS n FROM core.training_request GROUP BY 1 ORDER BY 1")
        return {
            "clean": verdict.clean and not stuck and verdict.asked == self._plan.requests,
            **asdict(verdict),
            "stuck": stuck,
            "orphans": len(set(self._yard.artifacts()) - referenced),
            "attempts": {row["attempt"]: row["n"] for row in attempts},
            "kills": self._kills,
            "postgres_restarts": self._outages,
            "deliveries": {name: self._shim.counts[name] for name in ("redeliver", "reorder", "delay")},
            "seed": self._plan.seed,
            "workers": self._plan.workers,
        }


def main() -> int:
    """Run one storm from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--workers", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--directory", type=Path, help="kept; else a temporary one is used and removed")
    asked = parser.parse_args()
    os.environ["TRAINYARD_ENV"] = "test"  # what the tools demand of whoever starts them
    end_on_signals()
    print(f"SEED={asked.seed}", flush=True)
    plan = Plan.draw(asked.seed, asked.requests, asked.kills, asked.workers)
    with tempfile.TemporaryDirectory() as temporary:
        figures = run_storm(plan, asked.directory or Path(temporary) / "storm")
    print(json.dumps(figures, indent=2))
    return 0 if figures["clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
