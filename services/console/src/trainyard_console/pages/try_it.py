"""Trying a model: a form made from its schema, the answer with its reasons, the same as curl and Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.errors import ServiceError
from trainyard_console.frame import form_text, page_of, show, url
from trainyard_console.pages.models import found
from trainyard_console.views import try_it as views
from trainyard_console.views.words import listed, part, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Visit

#: The newest, that an example row is made of where none was predicted yet.
_BATCHES = 60


def routes(frame: Frame) -> list[Route]:
    """Return the routes."""
    return [
        frame.page("/try", index, "Choose a model to try"),
        frame.page("/try/<name>", form, "The form of a prediction"),
        frame.page("/try/<name>", ask, "Asks for a prediction and shows it", scope="predict", method="POST"),
    ]


def index(visit: Visit) -> Response:
    """List what can be tried."""
    answers = visit.ask({"models": ("scheduler", page_of("/v1/models", most=60))})
    models = listed(answers["models"], lambda item: (text(item.get("name")), item.get("champion")))
    return show("try_list.html", area="try", models=models)


def form(visit: Visit, name: str) -> Response:
    """Show the form, filled with a row that was predicted before."""
    model, columns = _schema(visit, name)
    dataset = text(model.get("dataset"))
    answers = visit.ask(
        {
            "logged": ("ingest", f"/v1/predictions?model={name}&limit=1"),
            "profile": ("ingest", url("v1", "datasets", dataset, "profile", batches=_BATCHES)),
        }
    )
    values = views.example(answers["logged"].value, answers["profile"].value)
    return _page(visit, model, columns, values)


def ask(visit: Visit, name: str) -> Response:
    """Ask the predictor; a version that cannot explain answers without reasons."""
    model, columns = _schema(visit, name)
    row = views.row_of(columns, request.form)
    target = form_text("target", 60)
    asked = f"{name}@{target}" if target else name
    body: dict[str, Any] = {"rows": [row], "explain": True}
    try:
        try:
            told = visit.act("POST", "predictor", f"/v1/predict/{asked}", body=body, repeat=form_text("repeat"))
        except ServiceError as e:
            if e.code != "cannot_explain":
                raise
            told = visit.act("POST", "predictor", f"/v1/predict/{asked}", body={"rows": [row]})
    except ServiceError as e:
        if e.code not in {"invalid_rows", "bad_request", "no_model", "unknown_version", "unknown_alias"}:
            raise
        return _page(visit, model, columns, request.form, error=e)
    return _page(visit, model, columns, request.form, told=told, row=row)


def _schema(visit: Visit, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    model = found(visit, name)
    dataset = text(model.get("dataset"))
    described = visit.need(
        "ingest", url("v1", "datasets", dataset), "unknown_dataset", f"there is no dataset {dataset}"
    )
    excluded = part(model, "policy", "columns").get("exclude")
    return model, views.features(described, excluded if isinstance(excluded, list) else ())


def _page(
    visit: Visit,
    model: dict[str, Any],
    columns: list[dict[str, Any]],
    values: Mapping[str, Any],
    *,
    error: ServiceError | None = None,
    told: Any = None,
    row: dict[str, Any] | None = None,
) -> Response:
    name, address = text(model.get("name")), request.host_url.rstrip("/")
    problems = {
        str(problem.column): f"expected {problem.expected}, got {problem.got}"
        for problem in (error.details if error else ())
    }
    row = (
        views.row_of(columns, {key: str(value) for key, value in values.items() if value is not None})
        if row is None
        else row
    )
    return show(
        "try.html",
        status=error.status if error else 200,
        area="try",
        name=name,
        champion=model.get("champion"),
        inputs=views.inputs(columns, values, problems),
        error=error,
        answer=None if told is None else views.answer(told),
        curl=views.as_curl(address, name, row),
        python=views.as_python(address, name, row),
        target=form_text("target", 60),
        may=visit.visitor.may("predict"),
    )
