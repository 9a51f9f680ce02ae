"""As many trees of scikit-learn's, from joblib."""

import io

import fetched
import joblib
import numpy as np

_model = None


def handle(event, context):
    """Answer one row."""
    global _model  # noqa: PLW0603 - as such functions are written
    if _model is None:
        _model = joblib.load(io.BytesIO(fetched.artifact("joblib")))
    return {"statusCode": 200, "body": str(float(_model.predict(np.array([fetched.values(event)]))[0]))}
