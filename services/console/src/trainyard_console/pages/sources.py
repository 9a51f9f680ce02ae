"""Pull sources of a dataset: made, pulled now, removed; how they are is on the dataset's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request

from trainyard.alias_object import is_name
from trainyard.errors import Problem, ServiceError
from trainyard.schema import shown
from trainyard_console.frame import confirm, form_text, go, show, url
from trainyard_console.views import sources as views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Visit

#: An address, or a list of columns.
_MOST_CHARS = 10_000


def routes(frame: Frame) -> list[Route]:
    """Return the routes."""
    many = "/datasets/<name>/sources"
    one = f"{many}/<source>"
    return [
        frame.page(f"{many}/new", new, "The form of a new source", scope="operate"),
        frame.page(f"{many}/new", create, "Makes a source", scope="operate", method="POST"),
        frame.page(f"{one}/pull", pull, "Pulls a source now", scope="operate", method="POST"),
        frame.page(f"{one}/delete", ask_about, "Asks before a source goes", scope="operate"),
        frame.page(f"{one}/delete", delete, "Removes a source", scope="operate", method="POST"),
    ]


def new(visit: Visit, name: str) -> Response:
    """Show the form of a new source."""
    visit.need("ingest", url("v1", "datasets", name), "unknown_dataset", f"there is no dataset {name[:60]}")
    return _form_page(name, views.kind_of(request.args.get("kind")), {}, None)


def create(visit: Visit, name: str) -> Response:
    """Make a source; what ingest refuses is shown beside the fields."""
    kind = views.kind_of(form_text("kind"))
    given = {field: form_text(field, _MOST_CHARS) for field in request.form}
    try:
        path = _free(visit, name, given.get("name", ""))
        visit.act("PUT", "ingest", path, body=views.description_of(kind, given))
    except ServiceError as e:
        if e.code == "unknown_dataset" or e.status in {401, 403} or e.status >= 500:
            raise
        return _form_page(name, kind, given, e)
    return go(url("datasets", name, said="source"))


def _free(visit: Visit, name: str, source: str) -> str:
    """Return the path of a source that is not there yet: sending it to one that is would change that one."""
    if not is_name(source):
        problem = Problem(None, "name", "a-z, 0-9 and _, a letter first, at most 48 characters", shown(source))
        raise ServiceError("source_refused", "a source cannot bear that name", [problem])
    path = url("v1", "datasets", name, "sources", source)
    known = visit.ask({"it": ("ingest", path)})["it"]
    if known.missing is None:
        raise ServiceError("conflict", f"{name[:60]} has a source {source} already: choose another name, or delete it")
    if known.status != 404:
        raise ServiceError("unavailable", f"ingest {known.missing}")
    return path


def _form_page(name: str, kind: str, given: Mapping[str, str], error: ServiceError | None) -> Response:
    problems = views.problems_of(error) if error else {}
    return show(
        "datasets/source.html",
        status=error.status if error else 200,
        area="datasets",
        name=name,
        kind=kind,
        kinds=list(views.KINDS.items()),
        form=views.source_form(kind, given, problems),
        error=error,
    )


def pull(visit: Visit, name: str, source: str) -> Response:
    """Ask for a pull now."""
    path = url("v1", "datasets", name, "sources", source, "pull")
    visit.act("POST", "ingest", path, body={}, repeat=form_text("repeat"))
    return go(url("datasets", name, said="pulling"))


def ask_about(visit: Visit, name: str, source: str) -> Response:
    """Say what deleting a source will do."""
    path = url("v1", "datasets", name, "sources", source)
    visit.need("ingest", path, "unknown_source", f"{name[:60]} has no source {source[:60]}")
    return _delete_page(name, source, None)


def delete(visit: Visit, name: str, source: str) -> Response:
    """Remove a source."""
    try:
        visit.act("DELETE", "ingest", url("v1", "datasets", name, "sources", source))
    except ServiceError as e:
        return _delete_page(name, source, e)
    return go(url("datasets", name, said="deleted"))


def _delete_page(name: str, source: str, error: ServiceError | None) -> Response:
    said = [f"Nothing is pulled from it any more. The rows that came from it stay in {name}."]
    return confirm("datasets", f"Delete the source {source}", ("datasets", name), said, error)
