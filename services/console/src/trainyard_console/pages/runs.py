"""Runs: the list, and one with its search, why it waits, and how to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request

from trainyard_console.frame import form_text, go, page_of, show, url
from trainyard_console.views import runs as views
from trainyard_console.views.words import listed

if TYPE_CHECKING:
    from flask import Response

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Visit


def routes(frame: Frame) -> list[Route]:
    """Return the routes."""
    return [
        frame.page("/runs", index, "Training runs, newest first"),
        frame.page("/runs/<ident>", one, "A run: progress, leaderboard, search, explanation"),
        frame.page("/runs/<ident>/cancel", cancel, "Stops a run", scope="operate", method="POST"),
    ]


def index(visit: Visit) -> Response:
    """List runs, of one model where the address names it."""
    model = request.args.get("model")
    answers = visit.ask(
        {
            "runs": ("scheduler", page_of("/v1/runs", model=model)),
            "open": ("scheduler", "/v1/requests?state=queued&limit=20"),
        }
    )
    return show(
        "runs/list.html",
        area="runs",
        runs=listed(answers["runs"], lambda item: views.row(item, visit.now)),
        waiting=listed(answers["open"], lambda item: item),
        model=model,
        live=request.args.get("cursor") is None,
    )


def one(visit: Visit, ident: str) -> Response:
    """Show a run."""
    item = visit.need("scheduler", url("v1", "runs", ident), "unknown_run", f"there is no run {ident[:60]}")
    told = visit.ask({"explain": ("scheduler", url("v1", "requests", str(item.get("request_id")), "explain"))})
    run = views.run(item, told["explain"].value, visit.now)
    return show("runs/run.html", area="runs", run=run, live=not run.over)


def cancel(visit: Visit, ident: str) -> Response:
    """Stop the request that a run serves."""
    visit.act(
        "POST", "scheduler", url("v1", "requests", form_text("request"), "cancel"), body={}, repeat=form_text("repeat")
    )
    return go(url("runs", ident, said="cancelled"))
