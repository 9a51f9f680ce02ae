"""FastAPI and ONNX Runtime: rows checked by pydantic, one thread of computation for each process."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(
    f"{os.environ['MODELS']}/model.onnx", options, providers=["CPUExecutionProvider"]
)
app = FastAPI()


class Rows(BaseModel):
    """A request."""

    x: list[list[float]]


@app.post("/predict")
async def predict(rows: Rows) -> dict[str, list[float]]:
    """Answer all rows."""
    (values,) = session.run(None, {"X": np.array(rows.x, np.float32)})
    return {"y": values[:, 0].tolist()}
