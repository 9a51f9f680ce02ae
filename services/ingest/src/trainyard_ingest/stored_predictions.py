"""Predictions that are too many for a queue: their messages lie on S3, and one message says where."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import MessageError
from trainyard.messages import PredictionLogged, PredictionsStored, decode, stored_bodies

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.queue import Received

_PREFIX = "predictions/"
_log = logs.get(__name__)


def with_stored(handle: Callable[[Received], None], blobs: BlobStore) -> Callable[[Received], None]:
    """Return a handler that takes pointers as well: each stored message goes to ``handle`` as if it had come by itself.

    The object is deleted once all are handled. A pointer that comes again before that repeats what ``handle`` takes
    twice without harm; one that comes after it finds nothing and is settled.
    """

    def handle_any(message: Received) -> None:
        if message.type != PredictionsStored.type:
            handle(message)
            return
        pointer = decode(message.type, message.body)
        assert isinstance(pointer, PredictionsStored)  # noqa: S101 - its type says so
        if not pointer.key.startswith(_PREFIX):
            raise MessageError(f"no predictions are stored under {pointer.key[:80]!r}", message.body)
        try:
            data = blobs.get(pointer.key).data
        except BlobMissingError:
            _log.warning("predictions.gone", key=pointer.key, reason="an earlier delivery has handled them")
            return
        if len(data) != pointer.size or hashlib.sha256(data).hexdigest() != pointer.sha256:
            raise MessageError(f"the object {pointer.key} is not the one that was stored", message.body)
        try:
            bodies = stored_bodies(data)
        except ValueError as e:
            raise MessageError(f"the object {pointer.key} holds no messages", message.body) from e
        for body in bodies:
            handle(replace(message, type=PredictionLogged.type, body=body))
        blobs.delete(pointer.key)

    return handle_any
