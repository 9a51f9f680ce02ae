"""Models: the list, one with decisions, versions and aliases, its policy as a form and as text, training by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.errors import ServiceError
from trainyard_console.frame import confirm, form_text, go, page_of, show, url
from trainyard_console.views import models as views
from trainyard_console.views import operations
from trainyard_console.views.fields import shown_problems
from trainyard_console.views.words import items, listed, part

if TYPE_CHECKING:
    from flask import Response

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Visit


def routes(frame: Frame) -> list[Route]:
    """Return the routes."""
    return [
        frame.page("/models", index, "Models"),
        frame.page("/models/new", new, "The form of a new model", scope="operate"),
        frame.page("/models/new", create, "Makes a model", scope="operate", method="POST"),
        frame.page("/models/<name>", one, "A model: versions, aliases, decisions"),
        frame.page("/models/<name>/decisions", decisions, "Why a model has trained, or has not"),
        frame.page("/models/<name>/history", history, "Which version served when"),
        frame.page("/models/<name>/policy", policy, "A model's policy as a form and as text"),
        frame.page("/models/<name>/policy", save_policy, "Saves a policy", scope="operate", method="POST"),
        frame.page("/models/<name>/delete", ask_about, "Asks before a model goes", scope="admin"),
        frame.page("/models/<name>/delete", delete, "Deletes a model", scope="admin", method="POST"),
        frame.page("/models/<name>/train", train, "Asks for a training now", scope="operate", method="POST"),
    ]


def found(visit: Visit, name: str) -> dict[str, Any]:
    """Return the model that a page is about; raises ``ServiceError``."""
    return visit.need("scheduler", url("v1", "models", name), "unknown_model", f"there is no model {name[:60]}")


def index(visit: Visit) -> Response:
    """List models."""
    answers = visit.ask({"models": ("scheduler", page_of("/v1/models"))})
    shown = listed(answers["models"], lambda item: views.model(item, visit.now))
    return show("models/list.html", area="models", models=shown)


def one(visit: Visit, name: str) -> Response:
    """Show a model."""
    item = found(visit, name)
    path = url("v1", "models", name)
    answers = visit.ask(
        {
            "versions": ("scheduler", page_of(f"{path}/versions", most=15)),
            "aliases": ("scheduler", f"{path}/aliases?limit=50"),
            "decisions": ("scheduler", f"{path}/decisions?limit=4"),
            "open": ("scheduler", f"{path}/requests?state=queued&limit=5"),
        }
    )
    return show(
        "models/model.html",
        area="models",
        model=views.model(item, visit.now),
        versions=listed(answers["versions"], lambda one: views.version(one, visit.now)),
        aliases=listed(answers["aliases"], lambda one: views.alias(one, visit.now)),
        decisions=listed(answers["decisions"], lambda one: views.decision(one, visit.now)),
        waiting=len(items(answers["open"].value)),
        live=request.args.get("cursor") is None,
    )


def decisions(visit: Visit, name: str) -> Response:
    """List the policy's decisions."""
    found(visit, name)
    answers = visit.ask({"decisions": ("scheduler", page_of(url("v1", "models", name, "decisions")))})
    shown = listed(answers["decisions"], lambda one: views.decision(one, visit.now))
    return show("models/decisions.html", area="models", name=name, decisions=shown)


def history(visit: Visit, name: str) -> Response:
    """List the moves of aliases."""
    found(visit, name)
    answers = visit.ask({"moves": ("scheduler", page_of(url("v1", "models", name, "deployments")))})
    shown = listed(answers["moves"], lambda one: operations.deployment(one, visit.now))
    return show("models/history.html", area="models", name=name, moves=shown)


def policy(visit: Visit, name: str) -> Response:
    """Show the policy."""
    item = found(visit, name)
    return _policy_page(name, part(item, "policy"))


def save_policy(visit: Visit, name: str) -> Response:
    """Save the policy that the form, or the text, says; what the scheduler refuses is shown beside the fields."""
    item = found(visit, name)
    sent = form_text("text", 20_000)
    given = views.policy_of(request.form.to_dict(flat=False), part(item, "policy"))
    try:
        given = _parsed(sent) if sent else given
        body = {key: item.get(key) for key in ("dataset", "label", "task")} | {"policy": given}
        visit.act("PUT", "scheduler", url("v1", "models", name), body=body)
    except ServiceError as e:
        if e.status not in {400, 422}:
            raise
        return _policy_page(name, given, e, sent)
    return go(url("models", name, "policy", said="policy"))


def _parsed(sent: str) -> dict[str, Any]:
    try:
        value = json.loads(sent)
    except ValueError as e:
        raise ServiceError("bad_json", f"the text is not JSON: {e}") from e
    if not isinstance(value, dict):
        raise ServiceError("bad_json", "the text is not a JSON object")
    return value


def _policy_page(name: str, given: dict[str, Any], error: ServiceError | None = None, sent: str = "") -> Response:
    problems = shown_problems([one.as_dict() for one in error.details], "policy.") if error else {}
    return show(
        "models/policy.html",
        status=error.status if error else 200,
        area="models",
        name=name,
        form=views.policy_form(given, problems),
        text=sent or views.policy_text(given),
        error=error,
        problems=problems,
    )


def train(visit: Visit, name: str) -> Response:
    """Ask for a training on all rows there are."""
    visit.act("POST", "scheduler", url("v1", "models", name, "requests"), body={}, repeat=form_text("repeat"))
    return go(url("models", name, said="asked"))


def ask_about(visit: Visit, name: str) -> Response:
    """Say what deleting a model will do."""
    return _delete_page(name, found(visit, name).get("champion"), None)


def delete(visit: Visit, name: str) -> Response:
    """Delete a model."""
    try:
        visit.act("DELETE", "scheduler", url("v1", "models", name))
    except ServiceError as e:
        return _delete_page(name, None, e)
    return go(url("models", said="deleted"))


def _delete_page(name: str, champion: object, error: ServiceError | None) -> Response:
    served = "" if champion is None else f", version {champion} among them,"
    said = [
        f"All aliases of {name} are removed{served} and nobody gets an answer from it any more.",
        "Trainings that wait or run are cancelled.",
        "Its versions, runs and predictions stay on record. Its name is free for another model.",
    ]
    return confirm("models", f"Delete the model {name}", ("models", name), said, error)


def new(visit: Visit) -> Response:
    """Show the form of a new model."""
    return _new_page(visit, {"dataset": request.args.get("dataset", "")}, None)


def create(visit: Visit) -> Response:
    """Make a model."""
    given = {key: form_text(key) for key in ("name", "dataset", "label", "min_new_rows", "budget")}
    chosen: dict[str, Any] = {}
    if given["min_new_rows"].isdigit():
        chosen["min_new_rows"] = int(given["min_new_rows"])
    if given["budget"]:
        chosen["budget_seconds"] = views.length(given["budget"])
    body = {"dataset": given["dataset"], "label": given["label"], "policy": chosen}
    try:
        visit.act("PUT", "scheduler", url("v1", "models", given["name"] or " "), body=body)
    except ServiceError as e:
        if e.status >= 500:
            raise
        return _new_page(visit, given, e)
    return go(url("models", given["name"], said="created"))


def _new_page(visit: Visit, given: dict[str, str], error: ServiceError | None) -> Response:
    answers = visit.ask({"datasets": ("ingest", "/v1/datasets?limit=200")})
    return show(
        "models/new.html",
        status=error.status if error else 200,
        area="models",
        datasets=views.datasets_with_labels(answers["datasets"].value),
        missing=answers["datasets"].missing,
        given=given,
        error=error,
    )
