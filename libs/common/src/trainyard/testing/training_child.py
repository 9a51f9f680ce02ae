"""A training child that does not train: ``TRAINYARD_TRAINING_CHILD="python -m trainyard.testing.training_child"``.

For tests that need thousands of runs, or a run that ends badly. It keeps the protocol of the trainer's own child (one
line with the directory on standard input, JSON lines out, files in the directory, exit codes) and leaves a valid
artifact that answers the same number to everything. Its options say how long it works and how it ends; several ends
are taken in turn, one for each process, when ``--turns FILE`` names a file to count in::

    python -m trainyard.testing.training_child --seconds 0.05 --end segfault,hang,done --turns /tmp/turns
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.clock import SystemClock
from trainyard.model import IsMissing, Lineage, Linear, Model, Pipeline, encode, with_golden
from trainyard.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDS = ("done", "data", "crash", "segfault", "hang", "memory")
_EXIT_DATA, _EXIT_MEMORY, _EXIT_CRASH = 65, 67, 70
_ANSWER = 0.5
_CHECK_ROWS = 8
_FOREVER_SECONDS = 3_600.0
_clock = SystemClock()


def main(arguments: Sequence[str]) -> int:
    """Wait for a job, pretend to do it, and return the exit code."""
    parser = argparse.ArgumentParser(description="a training child that does not train")
    parser.add_argument("--seconds", type=float, default=0.05, help="how long it works")
    parser.add_argument("--trials", type=int, default=1, help="how many finished trials it reports")
    parser.add_argument("--end", default="done", help=f"how it ends, or how in turn: {', '.join(ENDS)}")
    parser.add_argument("--turns", type=Path, help="the file in which the turns are counted")
    asked = parser.parse_args(arguments)
    _say(stage="ready", done=0, total=0)
    line = sys.stdin.readline().strip()
    if not line:
        return 0
    directory = Path(line)
    job = json.loads((directory / "job.json").read_text(encoding="utf-8"))
    trials = list(job.get("trials", []))
    for number in range(len(trials) + 1, asked.trials + 1):
        _clock.sleep(asked.seconds / asked.trials)
        trials.append(_trial(number))
        _say(trial=trials[-1])
        _say(stage="searching", done=number, total=asked.trials)
    ends = str(asked.end).split(",")
    return _end(ends[_turn(asked.turns) % len(ends)], directory, job, trials)


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _trial(number: int) -> dict[str, Any]:
    return {
        "number": number,
        "family": "prior",
        "params": {"number": number},
        "metrics": {"loss": _ANSWER},
        "seconds": 0.01,
        "chosen": False,
    }


def _turn(file: Path | None) -> int:
    """Return how many processes have asked before, and be one of them."""
    if file is None:
        return 0
    with file.open("a+b") as counted:
        turn = counted.seek(0, 2)
        counted.write(b".")
    return turn


def _end(how: str, directory: Path, job: dict[str, Any], trials: list[dict[str, Any]]) -> int:
    if how == "data":
        return _failed(directory, _EXIT_DATA, "the test wants these rows to allow no model")
    if how == "crash":
        return _failed(directory, _EXIT_CRASH, "the test wants a crash")
    if how == "segfault":
        ctypes.string_at(0)
    if how == "hang":
        _clock.sleep(_FOREVER_SECONDS)
    if how == "memory":
        try:
            held = [bytearray(1 << 28) for _ in range(1 << 12)]  # 1 TiB: beyond every limit
        except MemoryError:
            return _failed(directory, _EXIT_MEMORY, "the run needs more memory than it may have")
        return len(held)
    _leave_model(directory, job, trials)
    return 0


def _failed(directory: Path, code: int, message: str) -> int:
    (directory / "error.json").write_text(json.dumps({"message": message}), encoding="utf-8")
    return code


def _leave_model(directory: Path, job: dict[str, Any], trials: list[dict[str, Any]]) -> None:
    """Write artifact, check rows, their answers, and the report."""
    schema = _seen(Schema.from_dict(job["snapshot"]["schema"]), job["label"])
    snapshot = job["snapshot"]
    model = Model(
        name=job["model"],
        task="regression",
        schema=schema,
        pipeline=Pipeline(
            (IsMissing(schema.features[0].name),), Linear(np.zeros((1, 1)), np.array([_ANSWER]), "identity")
        ),
        classes=(),
        lineage=Lineage(
            dataset=job["dataset"],
            snapshot_upto_seq=snapshot["upto_seq"],
            snapshot_rows=job["rows"],
            snapshot_sha256=snapshot["sha256"],
            configuration={"label": job["label"], "choice": []},
            code_version="test",
            seed=0,
            libraries={"numpy": np.__version__},
        ),
        metrics={"loss": _ANSWER},
    )
    rows = np.arange(min(_CHECK_ROWS, job["rows"]))
    (directory / "artifact.msgpack").write_bytes(encode(with_golden(model, [{}])))
    np.save(directory / "check_rows.npy", rows, allow_pickle=False)
    np.save(directory / "check.npy", np.full(len(rows), _ANSWER), allow_pickle=False)
    report = {
        "task": "regression",
        "trials": [{**trial, "chosen": trial is trials[-1]} for trial in trials],
        "holdout": {"rule": "none", "fit_rows": job["rows"], "test_rows": 0},
        "metrics": {"loss": _ANSWER},
        "gate": {"summary": "passed: a test's child", "passed": True, "checks": [], "metrics": {}},
        "passed": True,
        "budget_hit": False,
        "profile": None,
    }
    (directory / "report.json").write_text(json.dumps(report), encoding="utf-8")


def _seen(schema: Schema, label: str) -> Schema:
    """Return the schema as a model of ``label`` sees it."""

    def role(column: Column) -> str:
        if column.name == label:
            return "label"
        return "ignore" if column.role == "label" else column.role

    return Schema(Column(c.name, c.type, role(c), c.nullable, c.categories) for c in schema.columns)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
