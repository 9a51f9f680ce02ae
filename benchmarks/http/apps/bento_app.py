"""BentoML with two workers."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=2, traffic={"timeout": 60}, http={"host": "127.0.0.1"})
class Forest:
    """scikit-learn's model."""

    def __init__(self):
        self.model = joblib.load(f"{os.environ['MODELS']}/model.joblib")

    @bentoml.api
    def predict(self, x: np.ndarray) -> np.ndarray:
        """Answer all rows."""
        return self.model.predict(x)
