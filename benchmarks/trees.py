"""Tree ensembles: 200 trees of 31 leaves on 30 features, in numpy alone, beside the native libraries; one thread each.

LightGBM fits in the peers' environment, on features with missing values; its trees run in LightGBM, in ONNX Runtime
(single precision, already cast) and in ours; scikit-learn has fitted the same data with as many trees and leaves. Ours
must equal LightGBM's raw scores to the bit, ONNX Runtime's nearly. Times are the processor's, as the machine may have
other work; figures are medians of rounds, ratios medians of the ratios within a round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from trainyard.model.trees import TreeKernel
from trainyard_trainer.learning.trees import export

ROUNDS = 5
TREES = 200
FEATURES = 30
FITTED_ROWS = 20_000
#: rows -> calls in a round
SIZES = {1: 50, 100: 20, 1_000: 5, 100_000: 1}
PEERS = ("onnxruntime", "lightgbm", "scikit-learn")
#: What the product promises: nanoseconds for a row and a tree in the large batch, times as fast as any peer there,
#: microseconds for one row.
MOST_NS, LEAST_RATIO, MOST_US = 20.0, 2.0, 30.0
_PEERS = Path(".state/peers/bin/python")
#: ONNX Runtime compares and adds in single precision: here and there a row takes another leaf.
_SINGLE, _SHARE = 1e-4, 0.99


def run() -> dict[str, Any]:
    """Measure, print the table and return its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x = _data(folder)
        with _Peers(folder) as peers:
            booster = lightgbm.Booster(model_file=folder / "model.txt")
            kernel = TreeKernel(export(booster, TREES, "regression", np.zeros(1)))
            matrix = np.ascontiguousarray(x.T)  # as the predictor makes it
            _compare(kernel.scores(matrix)[0], peers, folder)
            found = _rounds(kernel, matrix, peers)
            print(f"   {', '.join(f'{name} {version}' for name, version in peers.versions.items())}")
        return _table(found)


def _data(folder: Path) -> np.ndarray[Any, Any]:
    """Leave what is fitted and what is predicted in the folder; return the latter (rows, FEATURES)."""
    rng = np.random.default_rng(7)
    n = max(SIZES)
    x = rng.normal(size=(n + FITTED_ROWS, FEATURES))
    x[:, ::3] = np.exp(x[:, ::3])  # not all features are as even as others
    target = x @ rng.normal(size=FEATURES) + np.sin(2 * x[:, 0]) * x[:, 1] + x[:, 2] * x[:, 3] + rng.normal(size=len(x))
    x[rng.random(x.shape) < 0.05] = np.nan
    x = x.astype(np.float32).astype(np.float64)  # ONNX Runtime is to see the same numbers
    for name, array in (("x", x[:n]), ("fit_x", x[n:]), ("fit_y", target[n:])):
        np.save(folder / name, array)
    return np.asarray(x[:n])


class _Peers:
    """The process in the peers' environment."""

    def __init__(self, folder: Path) -> None:
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        self._process = subprocess.Popen(
            [str(_PEERS), str(Path(__file__).with_name("tree_peers.py")), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads, "PYTHONWARNINGS": "ignore"},
        )
        self.versions: dict[str, str] = self._hear()["versions"]

    def __enter__(self) -> _Peers:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def predict(self, peer: str, rows: int, times: int, **more: str) -> list[float]:
        """Let a peer predict; return the seconds of each time."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"peer": peer, "rows": rows, "times": times, **more}) + "\n")
        self._process.stdin.flush()
        seconds: list[float] = self._hear()["seconds"]
        return seconds

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peers' process has ended with {self._process.wait()}; it has said why above")
        said: dict[str, Any] = json.loads(line)
        return said


def _compare(ours: np.ndarray[Any, Any], peers: _Peers, folder: Path) -> None:
    """Fail unless the answers are those of LightGBM, and ONNX Runtime's but for its single precision."""
    for peer in ("lightgbm", "onnxruntime"):
        peers.predict(peer, len(ours), 1, save=str(folder / peer) + ".npy")
        theirs = np.load(folder / f"{peer}.npy")
        if peer == "lightgbm":
            assert np.array_equal(ours, theirs), "our scores are not LightGBM's"
        else:
            near = np.abs(ours - theirs) <= _SINGLE * np.abs(ours).max()
            assert near.mean() >= _SHARE, f"only {near.mean():.3f} of ONNX Runtime's scores are near ours"


def _rounds(kernel: TreeKernel, matrix: np.ndarray[Any, Any], peers: _Peers) -> dict[tuple[str, int], list[float]]:
    """Return the seconds of a call, round by round, of each kernel and size; a first round warms everything up."""
    found: dict[tuple[str, int], list[float]] = {}
    for number in range(ROUNDS + 1):
        for rows, times in SIZES.items():
            part = np.ascontiguousarray(matrix[:, :rows])
            for name in ("ours", *PEERS):
                seconds = _ours(kernel, part, times) if name == "ours" else peers.predict(name, rows, times)
                if number:
                    found.setdefault((name, rows), []).append(statistics.median(seconds))
    return found


def _ours(kernel: TreeKernel, part: np.ndarray[Any, Any], times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        began = time.process_time()
        kernel.scores(part)
        seconds.append(time.process_time() - began)
    return seconds


def _table(found: dict[tuple[str, int], list[float]]) -> dict[str, Any]:
    figures: dict[str, Any] = {"limits": {"ns": MOST_NS, "ratio": LEAST_RATIO, "one_row_us": MOST_US}, "kernels": {}}
    print(
        f"   {'ns for a row and a tree':<26}"
        + "".join(f"{f'{rows:,} rows':>14}" for rows in SIZES)
        + f"{'1 row, us':>12}"
    )
    for name in ("ours", *PEERS):
        ns = {rows: statistics.median(found[name, rows]) / rows / TREES * 1e9 for rows in SIZES}
        best = {rows: min(found[name, rows]) / rows / TREES * 1e9 for rows in SIZES}
        times = {rows: _ratio(found[name, rows], found["ours", rows]) for rows in SIZES}
        figures["kernels"][name] = {"ns": ns, "best_ns": best, "times_ours": times}
        print(f"   {name:<26}" + "".join(f"{ns[rows]:>14.1f}" for rows in SIZES) + f"{ns[1] * TREES / 1e3:>12.1f}")
        print(
            f"   {'  best round':<26}" + "".join(f"{best[r]:>14.1f}" for r in SIZES) + f"{best[1] * TREES / 1e3:>12.1f}"
        )
        if name != "ours":
            print(f"   {'  times ours':<26}" + "".join(f"{times[rows]:>14.2f}" for rows in SIZES))
    limits = f"at most {MOST_NS:.0f} ns and at least {LEAST_RATIO:.0f} times as fast at {max(SIZES):,} rows"
    print(f"   limits: {limits}; one row at most {MOST_US:.0f} us")
    return figures


def _ratio(theirs: list[float], ours: list[float]) -> float:
    return statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
