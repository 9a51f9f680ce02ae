"""Datasets: the list, one with its columns and batches, upload, a batch with its rejects, a new one from a file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.errors import ServiceError
from trainyard.schema import ROLES, TYPES
from trainyard_console.frame import confirm, form_text, go, page_of, show, url
from trainyard_console.views import datasets as views
from trainyard_console.views.sources import source
from trainyard_console.views.words import items, listed, part

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.datastructures import FileStorage

    from trainyard.adapters.web import Route
    from trainyard_console.frame import Frame
    from trainyard_console.use_cases import Visit

#: As much of a file tells what its columns are.
_SAMPLE_BYTES = 1024 * 1024
#: Beside the file, the form's fields and the seams between its parts.
_FORM_BYTES = 64 * 1024
#: In the picture of their quality, and in what is said of columns.
_BATCHES_DRAWN = 60


def routes(frame: Frame, max_upload_bytes: int) -> list[Route]:
    """Return the routes."""
    post = partial(frame.page, method="POST")
    most = max_upload_bytes + _FORM_BYTES
    return [
        frame.page("/datasets", index, "Datasets"),
        frame.page("/datasets/new", new, "The form of a new dataset", scope="operate"),
        post("/datasets/new", look, "Reads the columns of a file", scope="operate", max_body_bytes=most),
        post("/datasets/create", create, "Makes a dataset", scope="operate"),
        frame.page("/datasets/<name>", one, "A dataset: columns, profile, batches"),
        post("/datasets/<name>/upload", upload, "Sends a file of rows", scope="ingest", max_body_bytes=most),
        frame.page("/datasets/<name>/delete", ask_about, "Asks before a dataset goes", scope="admin"),
        post("/datasets/<name>/delete", delete, "Deletes a dataset", scope="admin"),
        frame.page("/datasets/<name>/batches/<ident>", batch, "A batch and its rejects"),
    ]


def index(visit: Visit) -> Response:
    """List datasets."""
    answers = visit.ask({"datasets": ("ingest", page_of("/v1/datasets"))})
    shown = listed(answers["datasets"], lambda item: views.row(item, visit.now))
    return show("datasets/list.html", area="datasets", datasets=shown)


def one(visit: Visit, name: str) -> Response:
    """Show a dataset."""
    path = url("v1", "datasets", name)
    item = visit.need("ingest", path, "unknown_dataset", f"there is no dataset {name[:60]}")
    answers = visit.ask(
        {
            "profile": ("ingest", f"{path}/profile?batches={_BATCHES_DRAWN}"),
            "batches": ("ingest", page_of(f"{path}/batches", most=12)),
            "loading": ("ingest", f"{path}/batches?state=loading&limit=20"),
            "quality": ("ingest", f"{path}/quality?limit={_BATCHES_DRAWN}"),
            "sources": ("ingest", f"{path}/sources?limit=50"),
        }
    )
    return show(
        "datasets/dataset.html",
        area="datasets",
        dataset=views.row(item, visit.now),
        settings=part(item, "settings"),
        columns=views.columns(item, answers["profile"].value),
        profiled=answers["profile"].missing is None,
        told=views.told(answers["profile"].value),
        batches=listed(answers["batches"], lambda one: views.batch(one, visit.now)),
        loading=listed(answers["loading"], lambda one: views.batch(one, visit.now)),
        quality=views.quality(answers["quality"].value),
        quality_missing=answers["quality"].missing,
        sources=listed(answers["sources"], lambda one: source(one, visit.now)),
        may_upload=visit.visitor.may("ingest"),
        live=request.args.get("cursor") is None,
    )


def upload(visit: Visit, name: str) -> Response:
    """Send the file on to ingest, as it is."""
    file = _file()
    media = views.media_of(file.filename or "")
    made = visit.upload("ingest", url("v1", "datasets", name, "rows"), file.stream, media)
    return go(url("datasets", name, "batches", str(part(made).get("id")), said="uploaded"))


def ask_about(visit: Visit, name: str) -> Response:
    """Say what deleting a dataset will do."""
    item = visit.need("ingest", url("v1", "datasets", name), "unknown_dataset", f"there is no dataset {name[:60]}")
    return _delete_page(name, views.row(item, visit.now).rows, None)


def delete(visit: Visit, name: str) -> Response:
    """Delete a dataset."""
    try:
        visit.act("DELETE", "ingest", url("v1", "datasets", name))
    except ServiceError as e:
        return _delete_page(name, "all", e)
    return go(url("datasets", said="deleted"))


def _delete_page(name: str, rows: str, error: ServiceError | None) -> Response:
    said = [
        f"The dataset {name} goes for good, and {rows} rows with it.",
        "While a model reads it, this is refused: delete the model first.",
    ]
    return confirm("datasets", f"Delete the dataset {name}", ("datasets", name), said, error)


def batch(visit: Visit, name: str, ident: str) -> Response:
    """Show a batch."""
    path = url("v1", "datasets", name, "batches", ident)
    item = visit.need("ingest", path, "unknown_batch", f"{name[:60]} has no batch {ident[:60]}")
    answers = visit.ask({"rejects": ("ingest", page_of(f"{path}/rejects", most=50))})
    return show(
        "datasets/batch.html",
        area="datasets",
        name=name,
        batch=views.batch(item, visit.now),
        rejects=listed(answers["rejects"], views.reject),
    )


def new(_visit: Visit) -> Response:
    """Ask for a name and a file."""
    return show("datasets/new.html", area="datasets", name="", columns=None, error=None)


def look(visit: Visit) -> Response:
    """Show what the file's columns seem to be, to be corrected."""
    name = form_text("name", 60)
    try:
        file = _file()
        sample = _sample(file)
        path = url("v1", "datasets", name or " ", "infer")
        found = visit.upload("ingest", path, sample, views.media_of(file.filename or ""))
    except ServiceError as e:
        if e.status >= 500:
            raise
        return show("datasets/new.html", status=e.status, area="datasets", name=name, columns=None, error=e)
    return _columns_page(name, items(found, "columns"), None)


def create(visit: Visit) -> Response:
    """Make the dataset."""
    name = form_text("name", 60)
    columns = views.schema_of(request.form)
    try:
        visit.act("PUT", "ingest", url("v1", "datasets", name or " "), body={"columns": columns})
    except ServiceError as e:
        if e.status >= 500:
            raise
        return _columns_page(name, columns, e)
    return go(url("datasets", name, said="created"))


def _columns_page(name: str, columns: list[dict[str, Any]], error: ServiceError | None) -> Response:
    return show(
        "datasets/new.html",
        status=error.status if error else 200,
        area="datasets",
        name=name,
        columns=columns,
        roles=ROLES,
        types=TYPES,
        error=error,
    )


def _file() -> FileStorage:
    file = request.files.get("file")
    if file is None or not file.filename:
        raise ServiceError("bad_request", "choose a file first")
    return file


def _sample(file: FileStorage) -> bytes:
    """Return the beginning of a file, up to the end of a line; of Parquet, whose columns stand at its end, all."""
    if views.media_of(file.filename or "").endswith("parquet"):
        return file.stream.read()
    data = file.stream.read(_SAMPLE_BYTES + 1)
    return data if len(data) <= _SAMPLE_BYTES else data[: data.rfind(b"\n", 0, _SAMPLE_BYTES) + 1]
