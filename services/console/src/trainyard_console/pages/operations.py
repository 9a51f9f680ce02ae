"""Operations: queues and dead letters, fleet, costs, keys, audit log, doctor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import request

from trainyard import auth
from trainyard.errors import ServiceError
from trainyard_console.charts.bars import strengths
from trainyard_console.frame import form_text, go, hasty, page_of, show, url
from trainyard_console.views import operations as views
from trainyard_console.views.words import items, listed, part, text

if TYPE_CHECKING:
    from flask import Response

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Visit

_QUEUES = ("training", "arrived", "objects", "predictions", "batch")


def routes(frame: Frame) -> list[Route]:
    """Return the routes."""
    post = partial(frame.page, method="POST")
    return [
        frame.page("/operations", index, "Queues, fleet and costs"),
        frame.page("/operations/fleet", fleet, "The fleet"),
        frame.page("/operations/queues/<name>", dead, "The dead letters of a queue"),
        post("/operations/queues/<name>/redrive", redrive, "Sends dead letters back", scope="operate"),
        frame.page("/operations/deployments", deployments, "Which version of which model served when"),
        frame.page("/operations/keys", keys, "API keys", scope="admin"),
        post("/operations/keys", make_key, "Makes an API key", scope="admin"),
        post("/operations/keys/<ident>/revoke", revoke, "Revokes an API key", scope="admin"),
        frame.page("/operations/audit", audit, "Who changed what", scope="admin"),
        frame.page("/operations/doctor", doctor, "Whether everything fits together", scope="admin"),
    ]


def index(visit: Visit) -> Response:
    """Show queues, fleet and costs."""
    answers = visit.ask(
        {
            "queues": ("scheduler", "/v1/queues"),
            "fleet": ("scheduler", "/v1/fleet"),
            "costs": ("scheduler", "/v1/costs"),
        },
        hasty=hasty("queues", "fleet"),
    )
    days, words = views.costs(answers["costs"].value)
    return show(
        "operations/index.html",
        area="operations",
        queues=listed(answers["queues"], views.queue, "queues"),
        queues_late=answers["queues"].late,
        fleet=views.fleet(answers["fleet"].value),
        fleet_missing=answers["fleet"].missing,
        fleet_late=answers["fleet"].late,
        costs=strengths(days, "US dollars for instances, by day"),
        costs_words=words,
        costs_missing=answers["costs"].missing,
        live=True,
    )


def fleet(visit: Visit) -> Response:
    """Show the fleet."""
    told = visit.ask({"fleet": ("scheduler", "/v1/fleet")}, hasty=hasty("fleet"))["fleet"]
    return show(
        "operations/fleet.html",
        area="operations",
        fleet=views.fleet(told.value),
        fleet_missing=told.missing,
        fleet_late=told.late,
        live=True,
    )


def dead(visit: Visit, name: str) -> Response:
    """Show dead letters, in a part that comes later: a queue is asked until it gives no more."""
    if name not in _QUEUES:
        raise ServiceError("unknown_queue", f"the queues are {', '.join(_QUEUES)}")
    if request.args.get("look") != "1":
        return show("operations/dead.html", area="operations", name=name, letters=None)
    told = visit.wait_for("scheduler", url("v1", "queues", name, "dead", limit=50))
    letters = listed(told, lambda item: views.letter(item, visit.now))
    return show("operations/dead.html", area="operations", name=name, letters=letters)


def redrive(visit: Visit, name: str) -> Response:
    """Send a queue's dead letters back to it."""
    visit.act("POST", "scheduler", "/v1/queues/dlq/redrive", body={"queue": name}, repeat=form_text("repeat"))
    return go(url("operations", "queues", name, said="redriven"))


def deployments(visit: Visit) -> Response:
    """List the moves of all models' aliases."""
    answers = visit.ask({"moves": ("scheduler", page_of("/v1/deployments", most=50))})
    moves = listed(answers["moves"], lambda item: (text(item.get("model")), views.deployment(item, visit.now)))
    return show("operations/deployments.html", area="operations", moves=moves)


def keys(visit: Visit) -> Response:
    """List API keys."""
    return _keys_page(visit, None, None)


def make_key(visit: Visit) -> Response:
    """Make an API key and show it, this once."""
    days = form_text("days", 6)
    body: dict[str, Any] = {"name": form_text("name", 100), "scopes": request.form.getlist("scope")}
    if days:
        body["expires_in_days"] = int(days) if days.isdigit() else days
    try:
        made = visit.act("POST", "scheduler", "/v1/keys", body=body, repeat=form_text("repeat"))
    except ServiceError as e:
        if e.status >= 500:
            raise
        return _keys_page(visit, None, e)
    return _keys_page(visit, part(made).get("key"), None)


def _keys_page(visit: Visit, fresh: str | None, error: ServiceError | None) -> Response:
    answers = visit.ask({"keys": ("scheduler", page_of("/v1/keys"))})
    return show(
        "operations/keys.html",
        status=error.status if error else 200,
        area="operations",
        keys=listed(answers["keys"], lambda item: views.key(item, visit.now)),
        scopes=auth.SCOPES,
        fresh=fresh,
        error=error,
    )


def revoke(visit: Visit, ident: str) -> Response:
    """Revoke an API key."""
    visit.act("DELETE", "scheduler", url("v1", "keys", ident))
    return go(url("operations", "keys", said="revoked"))


def audit(visit: Visit) -> Response:
    """List the audit log."""
    answers = visit.ask({"audit": ("scheduler", page_of("/v1/audit", most=50))})
    entries = listed(answers["audit"], lambda item: views.entry(item, visit.now))
    return show("operations/audit.html", area="operations", entries=entries)


def doctor(visit: Visit) -> Response:
    """Show the doctor's checks, in a part that comes later: they look through the whole database."""
    if request.args.get("look") != "1":
        return show("operations/doctor.html", area="operations", looked=False)
    told = visit.wait_for("scheduler", "/v1/doctor")
    return show(
        "operations/doctor.html",
        area="operations",
        looked=True,
        checks=[views.check(item) for item in items(told.value, "checks")],
        healthy=part(told.value).get("healthy") is True,
        missing=told.missing,
    )
