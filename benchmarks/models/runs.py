"""The runs: each method on each case in a process of its own, timed from outside, scored, and noted once and for all.

Results are lines of JSON, one a run. What is there under the same key (table, seed, budget, method and the version of
the code that it depends on) is not run again, so an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models import cases, catalog, scores
from benchmarks.models.job import write_job
from trainyard_trainer import openmp
from trainyard_trainer.children import child_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.models.catalog import Dataset

OURS = "ours"
METHODS = (OURS, "flaml", "lightgbm", "sklearn-boosting", "sklearn-linear")
PEERS = Path(".state/peers/bin/python")
#: A method that takes longer than so many budgets is ended with what it has.
MOST_BUDGETS = 2.0
_HERE = Path(__file__).parent
_SHARED = [_HERE / name for name in ("cases.py", "splits.py", "scores.py")]
_SOURCES = {
    True: [
        _HERE / "ours.py",
        _HERE / "job.py",
        Path("libs/common/src"),
        Path("services/trainer/src"),
        Path("requirements/runtime.txt"),
    ],
    False: [_HERE / "peers.py", Path("requirements/peers.txt")],
}


@dataclass(frozen=True)
class Run:
    """One run to be made."""

    dataset: str
    seed: int
    budget: float
    method: str

    def key(self, version: str) -> tuple[Any, ...]:
        """Return what a noted result is found by."""
        return (self.dataset, self.seed, self.budget, self.method, version)


def key_of(result: dict[str, Any]) -> tuple[Any, ...]:
    """Return the key of a noted result."""
    run = Run(result["dataset"], result["seed"], result["budget"], result["method"])
    return run.key(result["version"])


@cache
def version_of(method: str, dataset: Dataset) -> str:
    """Return what tells one state of everything that a method's result depends on from another."""
    digest = hashlib.sha256(f"{dataset.sha256} {dataset.label} {dataset.task} {dataset.split}".encode())
    for source in [*_SHARED, *_SOURCES[method == OURS]]:
        for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def results_file() -> Path:
    """Return the file that results are noted in."""
    return catalog.STATE / "results.jsonl"


def noted() -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the noted results by key; a line that a crash has cut off counts as not there."""
    file = results_file()
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    if not file.exists():
        return found
    for line in file.read_text().splitlines():
        if line.endswith("}"):
            result = json.loads(line)
            found[key_of(result)] = result
    return found


def missing(runs: Iterable[Run], found: dict[tuple[Any, ...], Any], listed: dict[str, Dataset]) -> list[Run]:
    """Return those of ``runs`` that nothing is noted of."""
    return [r for r in runs if r.key(version_of(r.method, listed[r.dataset])) not in found]


def command_of(run: Run, case: Path, out: Path, deadline: float) -> list[str]:
    """Return the command line of a run, which leaves its answers in ``out``."""
    tail = [str(case), str(out), str(deadline)]
    if run.method == OURS:
        return [sys.executable, str(_HERE / "ours.py"), *tail]
    return [str(PEERS.absolute()), str(_HERE / "peers.py"), run.method, *tail]


def make(runs: Sequence[Run], listed: dict[str, Dataset], jobs: int) -> None:
    """Make the runs, ``jobs`` at a time, and note each as soon as it has ended; an interruption ends what runs."""
    catalog.STATE.mkdir(parents=True, exist_ok=True)
    together: dict[tuple[str, int, float], list[Run]] = {}
    for run in runs:
        together.setdefault((run.dataset, run.seed, run.budget), []).append(run)
    maker = _Maker(len(runs), jobs)
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(maker.group, listed[members[0].dataset], members) for members in together.values()]
        try:
            for ended in waiting:
                ended.result()
        finally:
            maker.stop()
            pool.shutdown(cancel_futures=True)


class _Maker:
    """Makes runs, from several threads at once, until it is told to stop."""

    def __init__(self, total: int, jobs: int) -> None:
        self._total, self._jobs, self._done = total, jobs, 0
        self._lock = threading.Lock()
        self._stopped = False
        self._running: set[subprocess.Popen[bytes]] = set()

    def stop(self) -> None:
        """Begin nothing more and end what is running."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)

    def group(self, dataset: Dataset, runs: Sequence[Run]) -> None:
        """Make the runs of one case, one after the other."""
        with tempfile.TemporaryDirectory(dir=catalog.STATE, prefix="case-") as name:
            case = cases.build(dataset, runs[0].seed, Path(name).resolve() / "case")
            write_job(dataset, runs[0].seed, case)
            for run in runs:
                result = self._result(run, case, dataset)
                with self._lock:
                    if self._stopped:
                        return  # perhaps it was ended before its time
                    self._done += 1
                    _note(result)
                    _show(result, self._done, self._total)

    def _result(self, run: Run, case: cases.Case, dataset: Dataset) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=case.directory) as name:
            out = Path(name)
            if run.method == OURS:
                shutil.copytree(case.directory / "job", out / "job")
            seconds, ended = self._process(run, case.directory, out)
            answers = np.load(out / "answers.npy", allow_pickle=False) if (out / "answers.npy").exists() else None
            error = "" if answers is not None else (out / "stderr").read_text(errors="replace")[-500:]
            said = json.loads((out / "said.json").read_text()) if answers is not None else {}
        given = scores.prior(case.learnt, case.classes, len(case.truth)) if answers is None else answers
        return {
            "dataset": run.dataset,
            "seed": run.seed,
            "budget": run.budget,
            "method": run.method,
            "version": version_of(run.method, dataset),
            **scores.score(case.truth, given, case.classes),
            "seconds": round(seconds, 2),
            "ended": ended,
            "error": error,
            "jobs": self._jobs,
            "load": round(os.getloadavg()[0], 2),
            "learnt": len(case.learnt),
            "asked": len(case.truth),
            "said": said,
        }

    def _process(self, run: Run, case: Path, out: Path) -> tuple[float, str]:
        """Run the method to its end; return the wall clock's seconds and how it ended: by itself, failed or cut off."""
        environment = child_environment(out, openmp.variables(catalog.STATE.resolve() / "lib"))
        began = time.monotonic()
        command = command_of(run, case, out, began + run.budget)
        with (out / "stdout").open("wb") as said, (out / "stderr").open("wb") as complained:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=complained,
                env=environment,
                start_new_session=True,
            )
            with self._lock:
                self._running.add(process)
                if self._stopped:
                    _kill(process)
            try:
                code = process.wait(run.budget * MOST_BUDGETS)
                ended = "failed" if code else "by itself"
            except subprocess.TimeoutExpired:
                ended = "cut off"
            with self._lock:
                self._running.remove(process)
                _kill(process)
        return time.monotonic() - began, ended


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children, if it has not ended yet, and wait for it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):  # it has ended just now, and another thread has seen it first
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _note(result: dict[str, Any]) -> None:
    with results_file().open("a") as lines:
        lines.write(json.dumps(result) + "\n")


def _show(result: dict[str, Any], done: int, total: int) -> None:
    how = "" if result["ended"] == "by itself" else f"  {result['ended']}: {result['error'].strip()[-100:]}"
    print(
        f"   {done:>4}/{total}  {result['dataset']:<13} seed {result['seed']}  {result['budget']:>4.0f} s"
        f"  {result['method']:<17}{result['metric']:>13.5g}{result['seconds']:>8.1f} s{how}",
        flush=True,
    )
