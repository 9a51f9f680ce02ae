"""LitServe with two workers: ``python litserve_app.py PORT``."""

import os
import sys

import joblib
import litserve
import numpy as np


class Api(litserve.LitAPI):
    """scikit-learn's model."""

    def setup(self, device):  # noqa: ARG002 - the name is LitServe's
        """Load it."""
        self.model = joblib.load(f"{os.environ['MODELS']}/model.joblib")

    def decode_request(self, request):
        """Read the rows."""
        return np.array(request["x"])

    def predict(self, x):
        """Answer all rows."""
        return self.model.predict(x)

    def encode_response(self, output):
        """Write the answers."""
        return {"y": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
