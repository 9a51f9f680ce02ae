"""The prediction log of a model, the newest first, and one prediction out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request

from trainyard.errors import ServiceError
from trainyard_console.frame import page_of, show, url
from trainyard_console.pages.models import found
from trainyard_console.views import predictions as views
from trainyard_console.views.words import listed, part

if TYPE_CHECKING:
    from flask import Response

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Visit


def routes(frame: Frame) -> list[Route]:
    """Return the routes."""
    return [
        frame.page("/quality/<name>/predictions", index, "What a model has answered, the newest first"),
        frame.page("/quality/<name>/predictions/<ident>", one, "One prediction: asked, answered, and true"),
    ]


def index(visit: Visit, name: str) -> Response:
    """List predictions."""
    found(visit, name)
    answers = visit.ask({"log": ("ingest", page_of("/v1/predictions", model=name, order="newest"))})
    return show(
        "predictions/list.html",
        area="quality",
        name=name,
        predictions=listed(answers["log"], lambda item: views.row(item, visit.now)),
        live=request.args.get("cursor") is None,
    )


def one(visit: Visit, name: str, ident: str) -> Response:
    """Show a prediction; one that was made just now may be on its way into the log, which the page waits for."""
    found(visit, name)
    told = visit.ask({"it": ("ingest", url("v1", "predictions", ident))})["it"]
    of_another = told.missing is None and part(told.value).get("model") != name
    if told.status == 400 or of_another:
        raise ServiceError("unknown_prediction", f"{name[:60]} has made no prediction {ident[:60]}")
    return show(
        "predictions/prediction.html",
        area="quality",
        name=name,
        ident=ident,
        logged=None if told.missing is not None else views.logged(part(told.value), visit.now),
        missing=None if told.status == 404 else told.missing,
        live=True,
    )
