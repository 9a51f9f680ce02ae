"""``python -m benchmarks models [...]``: which runs to make, the preparation before, the tables after."""

from __future__ import annotations

import argparse
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.models import catalog, runs
from benchmarks.models.page import page, verdict
from benchmarks.models.splits import SEEDS
from benchmarks.models.table import tabulate

if TYPE_CHECKING:
    from collections.abc import Collection

QUICK_DATASETS = ("credit", "bikes")
EVIDENCE = "docs/evidence/models-{budget:g}s.md"
_PREPARE = Path(__file__).with_name("prepare.py")


def main(arguments: list[str]) -> list[dict[str, Any]]:
    """Do what the command line asks for; return the noted results that belong to it."""
    asked, listed = parsed(arguments), catalog.load()
    plan = planned(asked)
    if not asked.report:
        prepare(asked.datasets)
        wanted = runs.missing(plan, runs.noted(), listed)
        print(f"   {len(plan)} runs, {len(plan) - len(wanted)} of them noted already", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        runs.make(wanted, listed, asked.jobs)
    found = runs.noted()
    keys = [run.key(runs.version_of(run.method, listed[run.dataset])) for run in plan]
    results = [found[key] for key in keys if key in found]
    tables = [tabulate(results, b, asked.datasets, runs.METHODS, asked.seeds) for b in asked.budgets]
    for table in tables:
        print(f"   {table.budget:g} s\n{verdict(table)}", flush=True)
    if asked.report:
        command = " ".join(["python -m benchmarks models", *arguments])
        about = {"command": command, "commit": _commit(), "seeds": str(asked.seeds)}
        for table in tables:
            written = Path(EVIDENCE.format(budget=table.budget))
            written.write_text(page(table, [r for r in results if r["budget"] == table.budget], listed, about))
            print(f"   written: {written}")
    return results


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks models", description=__doc__)
    listed = catalog.load()
    parser.add_argument("--datasets", metavar="A,B", help="tables (default: all)")
    parser.add_argument("--seeds", type=int, metavar="N", help=f"1 to {len(SEEDS)} (default: {len(SEEDS)})")
    parser.add_argument("--budget", metavar="A,B", help="seconds a run (default: 30,120)")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="runs at the same time (default: 1)")
    parser.add_argument("--quick", action="store_true", help="what is not named: two tables, one seed, 30 s")
    parser.add_argument(
        "--report", action="store_true", help="run nothing, write docs/evidence/models-*.md from what is noted"
    )
    asked = parser.parse_args(arguments)
    datasets, seeds, budgets = (QUICK_DATASETS, 1, "30") if asked.quick else (listed, len(SEEDS), "30,120")
    asked.datasets = _some(parser, asked.datasets or ",".join(datasets), listed)
    asked.seeds = seeds if asked.seeds is None else asked.seeds
    asked.budgets = _seconds(parser, asked.budget or budgets)
    if not 1 <= asked.seeds <= len(SEEDS):
        parser.error(f"there are {len(SEEDS)} seeds")
    return asked


def planned(asked: argparse.Namespace) -> list[runs.Run]:
    """Return the runs, so ordered that what is there after an interruption is a table with fewer seeds."""
    return [
        runs.Run(dataset, seed, budget, method)
        for budget in asked.budgets
        for seed in SEEDS[: asked.seeds]
        for dataset in asked.datasets
        for method in runs.METHODS
    ]


def prepare(names: list[str]) -> None:
    """Make the tables that are not there yet.

    Raises:
        RuntimeError: a table has other bytes than the list says.
    """
    listed = catalog.load()
    wanted = [name for name in names if not listed[name].is_prepared()]
    if not wanted:
        return
    subprocess.run([str(runs.PEERS), str(_PREPARE), *wanted], check=True)
    wrong = [name for name in wanted if not listed[name].is_prepared()]
    if wrong:
        raise RuntimeError(f"{', '.join(wrong)}: not the bytes that {catalog.LIST.name} names")


def _some(parser: argparse.ArgumentParser, given: str, known: Collection[str]) -> list[str]:
    names = given.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no {', '.join(unknown)}; there are: {', '.join(known)}")
    return names


def _seconds(parser: argparse.ArgumentParser, given: str) -> list[float]:
    try:
        budgets = [float(seconds) for seconds in given.split(",")]
    except ValueError:
        parser.error(f"seconds are numbers, not {given!r}")
    if not all(5 <= seconds <= 3600 for seconds in budgets):
        parser.error("a budget is of 5 to 3600 seconds")
    return budgets


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S607

    return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain") else "")
