"""``make chaos FULL=1``: chaos in full size, in legs that are kept, so that an interrupted run goes on where it was.

Each leg writes its figures to ``.state/chaos/<commit>-<seed>/<leg>.json`` when it is over; a leg that is there is not
run again. At the end, and after every leg, ``docs/evidence/chaos.json`` and ``chaos.md`` hold what was seen so far.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cells import run_cell
from ground import Ground, end_on_signals
from matrix import CELLS
from report import FILE, ROOT, commit, machine
from storm import Plan, run_storm
from takeover import PRODUCTION_LEASE, killed, mass_notices, noticed, zombie

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUNDS, _STORMS, _REQUESTS, _KILLS, _WORKERS = 10, 20, 500, 25, 5
_TAKEOVERS, _AT_ONCE = 100, 10
_NOTICES, _DARK_SECONDS = 50, 300.0
_CELLS = 6


def matrix_round() -> dict[str, Any]:
    """Run every cell once; return how many held, and what those said that did not."""
    with tempfile.TemporaryDirectory() as directory, Ground(Path(directory) / "ground") as ground:
        with ThreadPoolExecutor(_CELLS) as pool:
            futures = {str(cell): pool.submit(run_cell, ground, cell) for cell in CELLS}
        failures = {name: repr(future.exception()) for name, future in futures.items() if future.exception()}
    return {"cells": len(futures), "failures": failures, "clean": not failures}


def storm(seed: int) -> dict[str, Any]:
    """Run one storm."""
    with tempfile.TemporaryDirectory() as directory:
        return run_storm(Plan.draw(seed, _REQUESTS, _KILLS, _WORKERS), Path(directory) / "storm")


def takeovers(scenario: Callable[..., Any]) -> dict[str, Any]:
    """Run some rounds of a scenario side by side with the leases of production."""
    with tempfile.TemporaryDirectory() as directory, Ground(Path(directory) / "ground") as ground:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            futures = [pool.submit(scenario, ground, PRODUCTION_LEASE) for _ in range(_AT_ONCE)]
        failures = [repr(future.exception()) for future in futures if future.exception()]
        seconds = sorted(future.result().seconds for future in futures if not future.exception())
    return {"rounds": len(futures), "failures": failures, "seconds": seconds, "clean": not failures}


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
    for number in range(_TAKEOVERS // _AT_ONCE):
        for scenario in (zombie, killed, noticed):
            found[f"{scenario.__name__}-{number:02}"] = lambda scenario=scenario: takeovers(scenario)
    found["notices"] = lambda: notices(seed)
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


def main() -> int:
    """Run what is missing; 0 when every leg is clean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the first storm; the others follow")
    parser.add_argument("--only", default="", help="legs whose names begin so")
    asked = parser.parse_args()
    os.environ["TRAINYARD_ENV"] = "test"  # what the tools demand of whoever starts them
    end_on_signals()
    sources = commit()
    kept = FILE.parent / f"{sources[:12]}-{asked.seed}"
    kept.mkdir(parents=True, exist_ok=True)
    print(f"SEED={asked.seed}, results in {kept}", flush=True)
    results: dict[str, dict[str, Any]] = {}
    for name, run in legs(asked.seed).items():
        file = kept / f"{name}.json"
        if not file.exists() and name.startswith(asked.only):
            begun = time.monotonic()
            result = {**run(), "leg_seconds": round(time.monotonic() - begun, 1)}
            file.write_text(json.dumps(result), encoding="utf-8")
            print(f"{name}: {'clean' if result['clean'] else 'NOT CLEAN'} in {result['leg_seconds']} s", flush=True)
        if file.exists():
            results[name] = json.loads(file.read_text(encoding="utf-8"))
            seconds = round(sum(leg["leg_seconds"] for leg in results.values()))
            command = " ".join(["python tests/chaos/full.py", *sys.argv[1:]])
            header = {"command": command, "seed": asked.seed, "commit": sources, "machine": machine()}
            write(results, {**header, "duration_seconds": seconds})
    return 0 if all(result["clean"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
