"""Artifacts: bytes beside joblib's and times to load, for a linear model, 200 trees of 31 leaves, and a network.

scikit-learn fits; the converters make model files of what it has fitted. *Build* is a model in memory from its bytes,
without the checks; *checked* is what serving does: checksum, limits, every rule, golden rows. One row is answered by a
process of its own that has not imported numpy. Times are the processor's, medians of rounds.
"""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import msgpack
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from trainyard.model import Array, Lineage, Model, Predictor, codec, decode, encode, wire, with_golden
from trainyard.schema import Column, Schema
from trainyard_convert import from_sklearn

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 40
FEATURES = 30
ROWS = 20_000
GOLDEN_ROWS = 8
#: What the product promises: shares of joblib's bytes, bytes of a linear model, milliseconds.
MOST_ARRAYS, MOST_FILE, MOST_LINEAR, MOST_CHECKED_MS, MOST_BUILD_MS, MOST_ROW_MS = 0.27, 0.4, 16 * 1024, 3.0, 0.3, 1.0
_ONE_ROW = """
import json, statistics, sys, time
from pathlib import Path
from trainyard.model import Predictor, decode
predictor = Predictor(decode(Path(sys.argv[1]).read_bytes()))
row = json.loads(sys.argv[2])
times = []
for _ in range(200):
    began = time.process_time_ns()
    predictor.predict([row])
    times.append(time.process_time_ns() - began)
print(statistics.median(times) / 1e6, "numpy" in sys.modules)
"""


def run() -> dict[str, Any]:
    """Print the table and return its figures."""
    x, y = _data()
    kinds = {
        "linear": LogisticRegression(max_iter=500),
        "trees": HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=31, early_stopping=False),
        "network": MLPClassifier((64, 32), max_iter=20, random_state=0),
    }
    print("   kind      joblib      file  share  arrays  share | joblib ms  build ms  checked ms  one row ms")
    figures = {}
    for kind, fitted in kinds.items():
        found = _measured(fitted.fit(x, y), x)
        figures[kind] = found
        row = "-" if found["one_row_ms"] is None else f"{found['one_row_ms']:.3f}"
        print(
            f"   {kind:8} {found['joblib_bytes']:8,} {found['file_bytes']:9,} {found['file_share']:6.2f}"
            f" {found['array_bytes']:7,} {found['array_share']:6.2f} | {found['joblib_ms']:9.3f}"
            f" {found['build_ms']:9.3f} {found['checked_ms']:11.3f} {row:>11}"
        )
    print(
        f"   limits: arrays {MOST_ARRAYS}, file {MOST_FILE} of joblib's (trees, network), linear {MOST_LINEAR:,} bytes;"
        f" build {MOST_BUILD_MS} ms, checked {MOST_CHECKED_MS} ms, one row without numpy {MOST_ROW_MS} ms"
    )
    return figures


def _data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES))
    return x, (x[:, 0] * x[:, 1] + x[:, 2] + rng.normal(size=ROWS) > 0).astype(np.int64)


def _measured(fitted: Any, x: Any) -> dict[str, Any]:
    names = [f"x{i:02d}" for i in range(FEATURES)]
    columns = [Column(name, "float") for name in names]
    schema = Schema([*columns, Column("y", "int", role="label")])
    converted = from_sklearn(fitted, schema, columns=names, label="y")
    lineage = Lineage("benchmark", ROWS, ROWS, "0" * 64, {}, "0", 0, {})
    rows = [dict(zip(names, row, strict=True)) for row in x[:GOLDEN_ROWS].tolist()]
    model = Model("artifact", converted.task, converted.schema, converted.pipeline, converted.classes, lineage)
    data = encode(with_golden(model, rows))
    theirs = io.BytesIO()
    joblib.dump(fitted, theirs)
    joblib_bytes = len(theirs.getvalue())
    array_bytes = sum(len(array.data) for array in _arrays(model.pipeline))
    return {
        "joblib_bytes": joblib_bytes,
        "file_bytes": len(data),
        "file_share": len(data) / joblib_bytes,
        "array_bytes": array_bytes,
        "array_share": array_bytes / joblib_bytes,
        "joblib_ms": _ms(lambda: joblib.load(io.BytesIO(theirs.getvalue()))),
        "build_ms": _ms(lambda: _built(data)),
        "checked_ms": _ms(lambda: Predictor(decode(data)).self_test()),
        "one_row_ms": _one_row(data, rows[0]),
    }


def _arrays(holder: Any) -> list[Array]:
    """Return all arrays of a part of a model."""
    if isinstance(holder, Array):
        return [holder]
    if isinstance(holder, tuple):
        return [array for item in holder for array in _arrays(item)]
    return [array for value in getattr(holder, "__dict__", {}).values() for array in _arrays(value)]


def _built(data: bytes) -> Predictor:
    """Return a model from bytes that are known to be right: parsed and built, nothing checked that need not be."""
    tree = msgpack.unpackb(memoryview(data)[wire.HEADER_BYTES :])
    return Predictor(codec.BODY.unpack(tree, "model"))


def _ms(work: Callable[[], Any]) -> float:
    """Return the processor's milliseconds, the median of rounds."""
    work()
    times = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - began)
    return statistics.median(times) / 1e6


def _one_row(data: bytes, row: dict[str, float]) -> float | None:
    """Return the milliseconds of one row in a process without numpy; None where it has imported numpy all the same."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model"
        path.write_bytes(data)
        command = [sys.executable, "-c", _ONE_ROW, str(path), json.dumps(row)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return None if told[1] == "True" else float(told[0])
