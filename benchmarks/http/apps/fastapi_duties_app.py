"""FastAPI and ONNX Runtime with what our predictor does: rows by name, an API key, prediction ids, and a log on disk.

Each row is checked by a pydantic model of its own columns. Records are appended before the answer, with one write for
each request, as JSON by pydantic: the quickest way there is in this stack. Nobody ships them from there.
"""

import hashlib
import hmac
import os
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import onnxruntime
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict, FiniteFloat, create_model

COLUMNS = [f"x{n:02}" for n in range(30)]
KEY = hashlib.sha256(os.environ["API_KEY"].encode()).digest()

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(
    f"{os.environ['MODELS']}/model.onnx", options, providers=["CPUExecutionProvider"]
)
log = os.open(f"{os.environ['MODELS']}/log-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
app = FastAPI()

Row = create_model("Row", __config__=ConfigDict(extra="forbid"), **dict.fromkeys(COLUMNS, (FiniteFloat | None, ...)))


class Rows(BaseModel):
    """A request."""

    rows: list[Row]


@app.post("/predict")
async def predict(rows: Rows, authorization: str = Header()) -> dict[str, list[dict[str, float | str]]]:
    """Answer all rows."""
    key = authorization.removeprefix("Bearer ")
    if not hmac.compare_digest(hashlib.sha256(key.encode()).digest(), KEY):
        raise HTTPException(401)
    given = [[getattr(row, name) for name in COLUMNS] for row in rows.rows]
    (values,) = session.run(None, {"X": np.array(given, np.float32)})
    answers = [{"prediction": value, "prediction_id": f"pr_{uuid4().hex}"} for value in values[:, 0].tolist()]
    now = datetime.now(UTC).isoformat()
    records = [
        f'{{"id":"{answer["prediction_id"]}","at":"{now}","version":1,"inputs":{row.model_dump_json()},'
        f'"output":{answer["prediction"]}}}\n'
        for row, answer in zip(rows.rows, answers, strict=True)
    ]
    os.write(log, "".join(records).encode())
    return {"rows": answers}
