"""The least a Flask service can do with rows: parse, make an array, multiply by a vector, answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from flask import Flask, request


def app() -> Flask:
    """Return the application; called by gunicorn."""
    flask = Flask(__name__)
    weights = np.linspace(-1, 1, 30)

    @flask.get("/ready")
    def ready() -> dict[str, Any]:
        return {"ready": True}

    @flask.post("/dot")
    def dot() -> dict[str, Any]:
        values = np.array([list(row.values()) for row in request.get_json()["rows"]])
        return {"y": (values @ weights).tolist()}

    return flask
