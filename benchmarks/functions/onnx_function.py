"""The same trees in ONNX Runtime."""

import fetched
import numpy as np
import onnxruntime

_session = None


def handle(event, context):
    """Answer one row."""
    global _session  # noqa: PLW0603 - as such functions are written
    if _session is None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        _session = onnxruntime.InferenceSession(fetched.artifact("onnx"), options, providers=["CPUExecutionProvider"])
    row = np.array([fetched.values(event)], dtype=np.float32)
    return {"statusCode": 200, "body": str(float(_session.run(None, {"x": row})[0][0, 0]))}
