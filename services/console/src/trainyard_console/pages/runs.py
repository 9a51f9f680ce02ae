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

#: On the run's own page; the others are a page away.
_NEWEST_LINES = 50


def routes(frame: Frame) -> list[Route]:
    """Return the routes."""
    return [
        frame.page("/runs", index, "Training runs, newest first"),
        frame.page("/runs/<ident>", one, "A run: progress, leaderboard, search, explanation"),
        frame.page("/runs/<ident>/logs", logs, "What a run has said"),
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
    told = visit.ask(
        {
            "explain": ("scheduler", url("v1", "requests", str(item.get("request_id")), "explain")),
            "logs": ("scheduler", url("v1", "runs", ident, "logs", limit=_NEWEST_LINES)),
        }
    )
    run = views.run(item, told["explain"].value, visit.now)
    lines = listed(told["logs"], views.line)
    return show("runs/run.html", area="runs", run=run, lines=lines, live=not run.over)


def logs(visit: Visit, ident: str) -> Response:
    """Show all that a run has said, page by page, the newest page first, each in its order."""
    item = visit.need("scheduler", url("v1", "runs", ident), "unknown_run", f"there is no run {ident[:60]}")
    answers = visit.ask({"logs": ("scheduler", page_of(url("v1", "runs", ident, "logs"), most=500))})
    run = views.row(item, visit.now)
    return show("runs/logs.html", area="runs", run=run, lines=listed(answers["logs"], views.line))


def cancel(visit: Visit, ident: str) -> Response:
    """Stop the request that a run serves."""
    visit.act(
        "POST", "scheduler", url("v1", "requests", form_text("request"), "cancel"), body={}, repeat=form_text("repeat")
    )
    return go(url("runs", ident, said="cancelled"))
