"""The loop as a live picture, and the events that keep pages live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard_console.frame import hasty, show, stream
from trainyard_console.views import home as views

if TYPE_CHECKING:
    from flask import Response

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.live import Live
    from trainyard_console.use_cases import Questions, Visit

#: Of which home tells more than that they are there.
_MOST_DATASETS, _MOST_MODELS = 4, 6


def routes(frame: Frame, live: Live) -> list[Route]:
    """Return the routes."""

    def events(visit: Visit) -> Response:
        return stream(live.follow(visit.visitor.key, visit.visitor.token))

    return [
        frame.page("/", index, "The whole loop on one page"),
        frame.page("/live", events, "Tells an open page that something changed"),
    ]


def index(visit: Visit) -> Response:
    """Show the loop; the second round of questions is about the datasets that the first one found.

    What others than the database have to be asked for (queues, fleet, services) comes a moment later if need be.
    """
    first: Questions = {
        "datasets": ("ingest", "/v1/datasets?limit=50"),
        "models": ("scheduler", "/v1/models?limit=20"),
        "overview": ("scheduler", f"/v1/overview?limit={_MOST_MODELS}"),
        "runs": ("scheduler", "/v1/runs?limit=6"),
        "fleet": ("scheduler", "/v1/fleet"),
        "queues": ("scheduler", "/v1/queues"),
        **{f"ready:{name}": (name, "/readyz") for name in views.SERVICES},
    }
    slow = "fleet", "queues", *(f"ready:{name}" for name in views.SERVICES)
    answers = visit.ask(first, hasty=hasty(*slow))
    datasets = views.names(answers["datasets"], _MOST_DATASETS)
    answers |= visit.ask({f"batches:{name}": ("ingest", f"/v1/datasets/{name}/batches?limit=24") for name in datasets})
    return show("home.html", area="home", page=views.home(answers, datasets, visit.now), live=True)
