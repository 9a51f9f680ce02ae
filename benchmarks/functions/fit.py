"""Fit the models in the peers' environment: ``python fit.py FOLDER`` reads fit_x.npy and fit_y.npy from there."""

import sys
from pathlib import Path

import joblib
import lightgbm
import numpy as np
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingRegressor

TREES, LEAVES = 200, 31


def main(folder):
    """Leave model.txt (LightGBM), model.onnx (the same trees) and model.joblib (scikit-learn's) in the folder."""
    x, y = np.load(folder / "fit_x.npy"), np.load(folder / "fit_y.npy")
    shape = {"objective": "regression", "num_leaves": LEAVES, "num_threads": 1, "seed": 1, "verbosity": -1}
    booster = lightgbm.train(shape, lightgbm.Dataset(x, y), TREES)
    booster.save_model(folder / "model.txt")
    converted = convert_lightgbm(booster, initial_types=[("x", FloatTensorType([None, x.shape[1]]))])
    (folder / "model.onnx").write_bytes(converted.SerializeToString())
    forest = HistGradientBoostingRegressor(max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False)
    joblib.dump(forest.fit(x, y), folder / "model.joblib")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
