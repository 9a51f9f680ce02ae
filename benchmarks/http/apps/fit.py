"""The one model of all servers: ``python fit.py FOLDER`` in the peers' environment reads fit_x.npy and fit_y.npy there.

It leaves model.joblib (scikit-learn, and what is served by everything but us and ONNX Runtime), model.onnx (the same
trees, in single precision) and mlflow/ (the same model as MLflow keeps one).
"""

import sys
from pathlib import Path

import joblib
import mlflow.sklearn
import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common._container import ModelComponentContainer
from sklearn.ensemble import HistGradientBoostingRegressor

TREES, LEAVES = 200, 31


def plain(value):
    """Return numpy's scalars and bools as the numbers that today's protobuf takes; skl2onnx passes them as they are."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, bool) else value


def main(folder):
    """Fit once, write it three times."""
    x, y = np.load(folder / "fit_x.npy"), np.load(folder / "fit_y.npy")
    forest = HistGradientBoostingRegressor(max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False).fit(x, y)
    joblib.dump(forest, folder / "model.joblib")
    add_node = ModelComponentContainer.add_node

    def add_plain_node(self, *args, **named):
        return add_node(self, *args, **{name: plain(value) for name, value in named.items()})

    ModelComponentContainer.add_node = add_plain_node
    converted = to_onnx(forest, x[:1].astype(np.float32))
    (folder / "model.onnx").write_bytes(converted.SerializeToString())
    mlflow.sklearn.save_model(forest, folder / "mlflow", serialization_format="cloudpickle", pip_requirements=[])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
