"""Flask under gunicorn: scikit-learn's model, and the least that Flask can do with rows (one dot product)."""

import os

import joblib
import numpy as np
from flask import Flask, request

app = Flask(__name__)
model = joblib.load(f"{os.environ['MODELS']}/model.joblib")
weights = np.linspace(-1, 1, 30)


@app.post("/predict")
def predict():
    """Answer all rows."""
    return {"y": model.predict(np.array(request.get_json()["x"])).tolist()}


@app.post("/dot")
def dot():
    """Multiply all rows by a vector."""
    return {"y": (np.array(request.get_json()["x"]) @ weights).tolist()}
