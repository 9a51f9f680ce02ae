"""A body that is stored while it comes, however long it is."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from trainyard.contracts.part_store import MIN_PART_BYTES
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.contracts.part_store import PartStore
    from trainyard_predictor.exchange import Readable

_BLOCK_BYTES = 1 << 20
_PART_BYTES = 2 * MIN_PART_BYTES


def store_body(
    blobs: PartStore, key: str, first: bytes, rest: Readable | None, *, most_bytes: int
) -> tuple[str, int, str]:
    """Store ``first`` and what can be read from ``rest`` under ``key``; return etag, size and SHA-256.

    Raises:
        ServiceError: ``empty_body``, ``too_large`` or ``request_timeout``; nothing is left of it.
    """
    digest, size = hashlib.sha256(), 0
    waiting = bytearray()
    upload_id: str | None = None
    parts = 0
    try:
        for block in _blocks(first, rest, most_bytes):
            digest.update(block)
            size += len(block)
            waiting += block
            if len(waiting) >= _PART_BYTES:
                upload_id = upload_id or blobs.begin_upload(key)
                parts += 1
                blobs.put_part(key, upload_id, parts, bytes(waiting))
                waiting.clear()
        if upload_id is None:
            return blobs.put(key, bytes(waiting)), size, digest.hexdigest()
        if waiting:
            parts += 1
            blobs.put_part(key, upload_id, parts, bytes(waiting))
        blobs.complete_upload(key, upload_id, parts)
    except BaseException:
        if upload_id is not None:
            blobs.abort_upload(key, upload_id)
        raise
    return next(info.etag for info in blobs.list(key) if info.key == key), size, digest.hexdigest()


def _blocks(first: bytes, rest: Readable | None, most_bytes: int) -> Iterator[bytes]:
    if not first:
        raise ServiceError("empty_body", "the body is empty; send the rows, or name an input")
    block, size = first, 0
    while block:
        size += len(block)
        if size > most_bytes:
            raise ServiceError("too_large", f"the body is larger than {most_bytes:,} bytes")
        yield block
        try:
            block = b"" if rest is None else rest.read(_BLOCK_BYTES)
        except TimeoutError as e:
            raise ServiceError("request_timeout", f"the body stopped after {size:,} bytes") from e
