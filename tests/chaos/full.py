"""``make chaos FULL=1``: chaos in full size, in legs that are kept, so that an interrupted run goes on where it was.

Each leg is a process of its own (``--leg``) that writes its figures to ``.state/chaos/<commit>-<seed>/<leg>.json`` when
it is over; a leg that is there is not run again. Several run side by side. At the end, and after every leg,
``docs/evidence/chaos.json`` and ``chaos.md`` hold what was seen so far.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cells import run_cell
from ground import Ground, end_on_signals, interrupted
from lanes import Lanes
from matrix import CELLS
from report import FILE, ROOT, commit, machine
from storm import Plan, run_storm
from takeover import (
    NOTICE_TAKEOVER,
    PRODUCTION_LEASE,
    PRODUCTION_TAKEOVER,
    killed,
    mass_notices,
    noticed,
    zombie,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

_ROUNDS, _STORMS, _REQUESTS, _KILLS, _WORKERS = 10, 20, 500, 25, 5
_TAKEOVERS, _AT_ONCE = 100, 10
_NOTICES, _DARK_SECONDS = 50, 300.0
_CELLS = 6
#: The takeovers, and within how many seconds the next attempt must have begun.
_LIMITS = {zombie: PRODUCTION_TAKEOVER, killed: PRODUCTION_TAKEOVER, noticed: NOTICE_TAKEOVER}
#: Legs side by side, by kind.
_LANES = {"storm": 2, "matrix": 2, "takeovers": 2}


def side_by_side(calls: Iterable[Callable[[], Any]], at_once: int) -> list[Future[Any]]:
    """Make all calls in threads; return them when all are over. An interruption makes those that wait give up."""
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            wait(futures)
        except BaseException:
            interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return futures


def matrix_round() -> dict[str, Any]:
    """Run every cell once; return how many held, and what those said that did not."""
    with tempfile.TemporaryDirectory() as directory, Ground(Path(directory) / "ground") as ground:
        futures = side_by_side([partial(run_cell, ground, cell) for cell in CELLS], _CELLS)
    failures = {str(cell): repr(f.exception()) for cell, f in zip(CELLS, futures, strict=True) if f.exception()}
    return {"cells": len(futures), "failures": failures, "clean": not failures}


def storm(seed: int) -> dict[str, Any]:
    """Run one storm."""
    with tempfile.TemporaryDirectory() as directory:
        return run_storm(Plan.draw(seed, _REQUESTS, _KILLS, _WORKERS), Path(directory) / "storm")


def takeovers(scenario: Callable[..., Any], most_seconds: float) -> dict[str, Any]:
    """Run some rounds of a scenario side by side with the leases of production; each must be over in time."""
    with tempfile.TemporaryDirectory() as directory, Ground(Path(directory) / "ground") as ground:
        futures = side_by_side([partial(scenario, ground, PRODUCTION_LEASE)] * _AT_ONCE, _AT_ONCE)
    failures = [repr(future.exception()) for future in futures if future.exception()]
    seconds = sorted(future.result().seconds for future in futures if not future.exception())
    late = sum(second > most_seconds for second in seconds)
    clean = not failures and not late
    return {"rounds": len(futures), "failures": failures, "late": late, "seconds": seconds, "clean": clean}


def notices(seed: int) -> dict[str, Any]:
    """Fifty spot notices, then all workers at once while nothing can be launched for five minutes."""
    with tempfile.TemporaryDirectory() as directory, Ground(Path(directory) / "ground") as ground:
        return {**mass_notices(ground, seed, _NOTICES, _DARK_SECONDS), "clean": True}


def legs(seed: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return every leg by name, in the order in which they run."""
    found: dict[str, Callable[[], dict[str, Any]]] = {}
    for number in range(_STORMS):
        found[f"storm-{number:02}"] = lambda number=number: storm(seed + number)
    for number in range(_ROUNDS):
        found[f"matrix-{number:02}"] = matrix_round
    found["notices"] = lambda: notices(seed)  # the longest, beside all others of its kind
    for number in range(_TAKEOVERS // _AT_ONCE):
        for scenario, most in _LIMITS.items():
            found[f"{scenario.__name__}-{number:02}"] = partial(takeovers, scenario, most)
    return found


def summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Add up the legs of each kind."""

    def of(kind: str) -> list[dict[str, Any]]:
        return [result for name, result in results.items() if name.partition("-")[0] == kind]

    storms = of("storm")
    figures: dict[str, Any] = {
        "storm": {
            "legs": len(storms),
            **{
                name: sum(leg[name] for leg in storms)
                for name in ("asked", "ok", "recovered", "kills", "postgres_restarts")
            },
            **{name: sum(len(leg[name]) for leg in storms) for name in ("lost", "unexpected", "duplicated", "stuck")},
        },
        "matrix": {
            "rounds": len(of("matrix")),
            "cells": sum(leg["cells"] for leg in of("matrix")),
            "failures": sum(len(leg["failures"]) for leg in of("matrix")),
        },
    }
    for kind in ("zombie", "killed", "noticed"):
        seconds = [second for leg in of(kind) for second in leg["seconds"]]
        figures[kind] = {
            "rounds": sum(leg["rounds"] for leg in of(kind)),
            "failures": sum(len(leg["failures"]) for leg in of(kind)),
            "late": sum(leg["late"] for leg in of(kind)),
            "slowest_seconds": max(seconds, default=None),
        }
    figures["notices"] = next(iter(of("notices")), None)
    return figures


def write(results: dict[str, dict[str, Any]], header: dict[str, Any]) -> None:
    """Write the evidence: all legs as JSON; as a page what was done of what makes up the full size, and the sums."""
    figures = summary(results)
    folder = ROOT / "docs" / "evidence"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in legs(header["seed"]) if name not in results]
    content = {**header, "legs_not_run": missing, "summary": figures, "legs": results}
    (folder / "chaos.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    lines = ["# Chaos: what was seen", "", *(f"- {name}: {value}" for name, value in header.items()), ""]
    if missing:
        count = f"{len(missing)} of {len(missing) + len(results)} legs"
        lines += [f"Not in full size: {count} were not run. The same command goes on with them at this commit.", ""]
    lines += ["| | Done in this run | Full size |", "|---|---:|---:|"]
    lines += [f"| {what} | {done:,} | {full:,} |" for what, done, full in _progress(figures)] + [""]
    for kind, sums in figures.items():
        if kind in {name.partition("-")[0] for name in results}:
            lines += [f"## {kind}", "", *(f"- {name}: {value}" for name, value in sums.items()), ""]
    (folder / "chaos.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _progress(figures: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return what the full size is made of: how much of it was done, and how much there is."""
    storm, noticed_at_once = figures["storm"], figures["notices"] or {}
    return [
        ("requests of the storm that were asked for", storm["asked"], _STORMS * _REQUESTS),
        ("of these: done, once", storm["ok"], _STORMS * _REQUESTS),
        ("kill -9 of a trainer or a scheduler in the storm", storm["kills"], _STORMS * _KILLS),
        ("rounds of the matrix", figures["matrix"]["rounds"], _ROUNDS),
        ("zombies with a lease of 60 s", figures["zombie"]["rounds"], _TAKEOVERS),
        ("kill -9 with a lease of 60 s", figures["killed"]["rounds"], _TAKEOVERS),
        ("spot notices with a lease of 60 s", figures["noticed"]["rounds"], _TAKEOVERS),
        ("spot notices in a row, then to all workers", noticed_at_once.get("notices", 0), _NOTICES + _WORKERS),
    ]


def run_leg(name: str, seed: int, file: Path) -> None:
    """Run one leg in this process and keep its figures."""
    begun, at = time.monotonic(), round(time.time(), 1)
    result = {**legs(seed)[name](), "begun": at, "leg_seconds": round(time.monotonic() - begun, 1)}
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(result), encoding="utf-8")
    unfinished.rename(file)


def duration(results: Iterable[dict[str, Any]]) -> int:
    """Return the seconds during which at least one leg ran."""
    total = until = 0.0
    for begun, end in sorted((leg["begun"], leg["begun"] + leg["leg_seconds"]) for leg in results):
        total += max(0.0, end - max(begun, until))
        until = max(until, end)
    return round(total)


def stage(leg: str) -> str:
    """Return the kind of legs beside which a leg may run."""
    kind = leg.partition("-")[0]
    return kind if kind in _LANES else "takeovers"


class Progress:
    """What was kept of each leg, and the evidence made of it."""

    def __init__(self, seed: int, sources: str, kept: Path) -> None:
        self._kept = kept
        self._header = {
            "command": f"python tests/chaos/full.py --seed {seed}",
            "seed": seed,
            "commit": sources,
            "machine": machine(),
        }
        self._names = list(legs(seed))
        self.results: dict[str, dict[str, Any]] = {}

    def take(self) -> None:
        """Read what the legs have left, and write the evidence."""
        files = {name: self._kept / f"{name}.json" for name in self._names}
        self.results = {name: json.loads(f.read_text(encoding="utf-8")) for name, f in files.items() if f.exists()}
        if self.results:
            write(self.results, {**self._header, "duration_seconds": duration(self.results.values())})

    def over(self, leg: str, code: int) -> None:
        """Take the end of one leg."""
        self.take()
        if leg in self.results:
            clean = "clean" if self.results[leg]["clean"] else "NOT CLEAN"
            print(f"{leg}: {clean} in {self.results[leg]['leg_seconds']} s", flush=True)
        else:
            print(f"{leg}: ended with {code}, see {self._kept / leg}.log", flush=True)


def main() -> int:
    """Run what is missing; 0 when every leg is clean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the first storm; the others follow")
    parser.add_argument("--only", default="", help="legs whose names begin so")
    parser.add_argument("--leg", metavar="FILE", type=Path, help="run the leg of this name here and keep it in FILE")
    asked = parser.parse_args()
    os.environ["TRAINYARD_ENV"] = "test"  # what the tools demand of whoever starts them
    end_on_signals()
    if asked.leg:
        run_leg(asked.leg.stem, asked.seed, asked.leg)
        return 0
    sources = commit()
    kept = FILE.parent / f"{sources[:12]}{'+' * sources.endswith('+')}-{asked.seed}"
    kept.mkdir(parents=True, exist_ok=True)
    print(f"SEED={asked.seed}, results in {kept}", flush=True)
    progress = Progress(asked.seed, sources, kept)
    progress.take()
    commands = {
        name: (__file__, "--seed", str(asked.seed), "--leg", str(kept / f"{name}.json"))
        for name in legs(asked.seed)
        if name not in progress.results and name.startswith(asked.only)
    }
    Lanes(kept, _LANES, stage).run(commands, progress.over)
    wanted = [name for name in legs(asked.seed) if name.startswith(asked.only) or name in progress.results]
    return 0 if all(name in progress.results and progress.results[name]["clean"] for name in wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
