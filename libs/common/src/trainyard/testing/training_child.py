"""A training child that does not train: ``TRAINYARD_TRAINING_CHILD="python -m trainyard.testing.training_child"``.

For tests that need thousands of runs, or a run that ends badly. It keeps the protocol of the trainer's own child (one
line with the directory on standard input, JSON lines out, files in the directory, exit codes) and leaves a valid
artifact that answers the same number to everything. Its options say how long it works and how it ends; several ends
are taken in turn, one for each process, when ``--turns FILE`` names a file to count in::

    python -m trainyard.testing.training_child --seconds 0.05 --end segfault,hang,done --turns /tmp/turns

A storm starts ten thousand of these, so it imports neither numpy nor the library's model: the few bytes of an artifact
are written as docs/model-format.md says. The trainer believes none of it, it loads and tries every artifact.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from trainyard.clock import SystemClock

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
        "kind": "prior",
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
        import ctypes  # noqa: PLC0415 - for this end only: it would make every other start slower

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
    rows = range(min(_CHECK_ROWS, job["rows"]))
    (directory / "artifact.msgpack").write_bytes(_sealed(_model(job)))
    (directory / "check_rows.npy").write_bytes(_npy("<i8", rows))
    (directory / "check.npy").write_bytes(_npy("<f8", [_ANSWER] * len(rows)))
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


def _model(job: dict[str, Any]) -> dict[str, Any]:
    """Return the body of the artifact: a linear model that has no weights and one bias, the answer."""
    columns = [_seen(column, job["label"]) for column in job["snapshot"]["schema"]["columns"]]
    features = [column["name"] for column in columns if column["role"] == "feature"]
    estimator = {
        "kind": "linear",
        "weights": _array((1, 1), 0.0),
        "bias": _array((1,), _ANSWER),
        "baseline": None,
        "output": "identity",
    }
    return {
        "name": job["model"],
        "task": "regression",
        "schema": {"columns": columns},
        "pipeline": {
            "kind": "pipeline",
            "steps": [{"kind": "is_missing", "column": features[0]}],
            "estimator": estimator,
        },
        "classes": [],
        "calibration": None,
        "threshold": 0.5,
        "metrics": {"loss": _ANSWER},
        "lineage": {
            "dataset": job["dataset"],
            "snapshot_upto_seq": job["snapshot"]["upto_seq"],
            "snapshot_rows": job["rows"],
            "snapshot_sha256": job["snapshot"]["sha256"],
            "configuration": {"choice": [], "label": job["label"]},
            "code_version": "test",
            "seed": 0,
            "libraries": {},
        },
        "golden": {"rows": [dict.fromkeys(sorted(features))], "expected": _array((1, 1), _ANSWER)},
    }


def _seen(column: dict[str, Any], label: str) -> dict[str, Any]:
    """Return the column as a model of ``label`` sees it."""
    if column["name"] == label:
        return {**column, "role": "label"}
    return {**column, "role": "ignore"} if column["role"] == "label" else column


def _array(shape: tuple[int, ...], value: float) -> dict[str, Any]:
    """Return an array of one number as the format has it."""
    return {"dtype": "float64", "shape": shape, "data": struct.pack("<d", value)}


def _sealed(model: dict[str, Any]) -> bytes:
    """Return the file: format, version, checksum and body."""
    body: bytes = msgpack.packb(model, use_bin_type=True)
    head = b"\x84\xa6format\xaftrainyard.model\xa7version\x02\xa6sha256\xc4\x20"
    return head + hashlib.sha256(body).digest() + b"\xa4body\xc6" + struct.pack(">I", len(body)) + body


def _npy(dtype: str, values: Sequence[float]) -> bytes:
    """Return a numpy file of one axis; ``dtype`` is <i8 or <f8."""
    described = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({len(values)},), }}"
    head = described.ljust(117) + "\n"  # with the ten bytes before it a multiple of 64
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack(f"<H{len(head)}s", len(head), head.encode())
        + struct.pack(f"<{len(values)}{'q' if dtype == '<i8' else 'd'}", *values)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
