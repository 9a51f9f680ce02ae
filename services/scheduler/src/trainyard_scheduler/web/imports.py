"""The route that takes model files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.adapters.web import Route, read_body
from trainyard.errors import ServiceError
from trainyard_scheduler import views
from trainyard_scheduler.use_cases import imports
from trainyard_scheduler.use_cases.answers import Outcome
from trainyard_scheduler.web.common import asker, changed

if TYPE_CHECKING:
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.scheduling import Records, Store

_ARTIFACT = "application/vnd.trainyard.model"


def routes(store: Store, blobs: BlobStore, *, copy_most_bytes: int) -> list[Route]:
    def imported(name: str) -> Any:
        if request.mimetype != _ARTIFACT:
            raise ServiceError("unsupported_media", f"this route reads model files: send Content-Type: {_ARTIFACT}")
        data = read_body()
        if not data:
            raise ServiceError("empty_body", "the body must be a model file")
        upload = imports.read(data)
        with store.begin() as records:
            imports.check(records, name, upload)
        imports.store(blobs, name, data, upload.sha256)
        copy = data if len(data) <= copy_most_bytes else None

        def change(records: Records) -> Outcome:
            made, version = imports.register(records, name, upload, asker(), copy=copy)
            return Outcome(201 if made else 200, views.version(version))

        return changed(store, change)

    return [
        Route(
            "POST",
            "/v1/models/<name>/versions",
            imported,
            "operate",
            "Make a version of a model file that was made elsewhere; the same bytes are the same version",
            max_body_bytes=imports.MAX_BYTES,
            takes=(_ARTIFACT,),
        )
    ]
