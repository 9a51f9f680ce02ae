"""Flask as the yardstick: the least it can do with rows or bytes, and the predictor's own handler behind it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from flask import Flask, Response, request

from trainyard.config import load
from trainyard_predictor import bootstrap
from trainyard_predictor.handler import Request


def limit() -> Flask:
    """Parse rows, make an array, multiply by a vector, answer."""
    flask = Flask(__name__)
    weights = np.linspace(-1, 1, 30)

    @flask.get("/readyz")
    def ready() -> dict[str, Any]:
        return {"ready": True}

    @flask.post("/dot")
    def dot() -> dict[str, Any]:
        values = np.array([list(row.values()) for row in request.get_json()["rows"]])
        return {"y": (values @ weights).tolist()}

    return flask


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


def wrapped() -> Flask:
    """Everything the predictor does, with Flask instead of raw WSGI around it."""
    flask = Flask(__name__)
    service = bootstrap.build(load(os.environ))
    service.background.start()

    @flask.route("/<path:path>", methods=["GET", "POST"])
    def any_path(path: str) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = service.handler.handle(
            Request(request.method, f"/{path}", request.query_string.decode(), headers, request.get_data())
        )
        return Response(answer.body, answer.status, answer.headers)

    return flask
