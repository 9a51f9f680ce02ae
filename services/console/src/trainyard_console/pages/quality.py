"""Quality: how models do in life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request

from trainyard_console.frame import go, page_of, show, url
from trainyard_console.pages.models import found
from trainyard_console.views import quality as views
from trainyard_console.views.words import listed, text

if TYPE_CHECKING:
    from flask import Response

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Visit

#: The newest, that open windows are made of.
_MOST_PREDICTIONS = 1_000
#: Hours that traffic is shown of.
_SPANS = {"24": "24 hours", "168": "7 days", "720": "30 days"}


def routes(frame: Frame) -> list[Route]:
    """Return the routes."""
    return [
        frame.page("/quality", index, "Choose a model to look after"),
        frame.page("/quality/<name>", one, "Drift, live metrics, volumes and alarms of a model"),
    ]


def index(visit: Visit) -> Response:
    """List models; of a single one, go to it."""
    answers = visit.ask({"models": ("scheduler", page_of("/v1/models", most=60))})
    models = listed(answers["models"], lambda item: text(item.get("name")))
    if len(models.entries) == 1 and request.args.get("cursor") is None:
        return go(url("quality", models.entries[0]))
    return show("quality/list.html", area="quality", models=models)


def one(visit: Visit, name: str) -> Response:
    """Show a model's quality."""
    model = found(visit, name)
    hours = request.args.get("hours")
    asked = hours if hours in _SPANS else next(iter(_SPANS))
    answers = visit.ask(
        {
            "quality": ("scheduler", url("v1", "models", name, "quality", predictions=_MOST_PREDICTIONS)),
            "traffic": ("scheduler", url("v1", "models", name, "traffic", hours=asked)),
        }
    )
    told = answers["quality"]
    return show(
        "quality/model.html",
        area="quality",
        name=name,
        champion=model.get("champion"),
        quality=views.quality(told.value, visit.now),
        missing=told.missing,
        traffic=views.traffic(answers["traffic"].value),
        traffic_missing=answers["traffic"].missing,
        spans=_SPANS,
        span=asked,
        live=True,
    )
