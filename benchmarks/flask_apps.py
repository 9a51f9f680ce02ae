"""Flask as the yardstick: the least it can do with bytes."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, Response


def memory() -> Flask:
    """Answer with as many bytes as the environment says, the same ones each time."""
    flask = Flask(__name__)
    body = b"x" * int(os.environ["BENCHMARK_BYTES"])

    @flask.get("/readyz")
    def ready() -> dict[str, Any]:
        return {"ready": True}

    @flask.get("/memory")
    def same() -> Response:
        return Response(body, mimetype="application/json")

    return flask
