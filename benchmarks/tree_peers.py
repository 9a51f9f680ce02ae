"""The other side of ``benchmarks.trees``, in the peers' environment: it fits the model and answers on demand.

Its argument is a folder. It fits on ``fit_x.npy`` and ``fit_y.npy``, leaves LightGBM's model in ``model.txt`` and says
so with a line; then, for each line ``{"peer": …, "rows": n, "times": m}``, it predicts the first n rows of ``x.npy``
m times and answers the processor's seconds of each; with ``"save": path`` it leaves the predictions there.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import sklearn
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingRegressor

TREES, LEAVES = 200, 31


def main() -> None:
    """Fit, then measure until the input ends."""
    folder = Path(sys.argv[1])
    fit_x, fit_y, x = (np.load(folder / f"{name}.npy") for name in ("fit_x", "fit_y", "x"))
    shape = {"objective": "regression", "num_leaves": LEAVES, "num_threads": 1, "seed": 1, "verbosity": -1}
    booster = lightgbm.train(shape, lightgbm.Dataset(fit_x, fit_y), TREES)
    booster.save_model(folder / "model.txt")
    forest = HistGradientBoostingRegressor(max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False)
    forest.fit(fit_x, fit_y)
    session = _session(booster, fit_x.shape[1])
    single = x.astype(np.float32)
    peers = {
        "onnxruntime": lambda n: session.run(None, {"x": single[:n]})[0][:, 0],
        "lightgbm": lambda n: booster.predict(x[:n], raw_score=True, num_threads=1),
        "scikit-learn": lambda n: forest.predict(x[:n]),
    }
    libraries = (("onnxruntime", onnxruntime), ("lightgbm", lightgbm), ("scikit-learn", sklearn), ("numpy", np))
    _say({"versions": {name: library.__version__ for name, library in libraries}})
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        seconds = []
        for _ in range(asked["times"]):
            began = time.process_time()
            predicted = peers[asked["peer"]](asked["rows"])
            seconds.append(time.process_time() - began)
        if "save" in asked:
            np.save(asked["save"], predicted)
        _say({"seconds": seconds})


def _session(booster: lightgbm.Booster, width: int) -> onnxruntime.InferenceSession:
    """Return the same trees in ONNX Runtime, which takes single precision, on one thread."""
    converted = convert_lightgbm(booster, initial_types=[("x", FloatTensorType([None, width]))])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(converted.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
