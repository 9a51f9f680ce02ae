"""A blob store on one S3 bucket, over signed requests of our own; what is read or written is in memory whole."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from trainyard.adapters.slim.sigv4 import quoted_path
from trainyard.contracts.blobs import Blob, BlobExistsError, BlobInfo, BlobMissingError, BlobStore
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trainyard.adapters.slim.http1 import Answer
    from trainyard.adapters.slim.service import Service

_CONFLICT_ATTEMPTS = 3
_CODE = re.compile(rb"<Code>([^<]{1,80})</Code>")


class SlimBlobs(BlobStore):
    """The bucket ``bucket``, which nobody here makes; ``root`` is the path that leads to it, empty or ``/bucket``."""

    def __init__(self, service: Service, bucket: str, *, root: str) -> None:
        self._service = service
        self._bucket = bucket
        self._root = root

    def put(self, key: str, data: bytes | BinaryIO, *, only_if_absent: bool = False) -> str:
        """Store ``data`` and return its etag.

        Raises:
            BlobExistsError: ``only_if_absent`` and the key is taken; also when the answer to an earlier attempt
                was lost on the way, so compare the contents before calling it a conflict.
        """
        if not isinstance(data, bytes):
            data.seek(0)
            data = data.read()
        headers = {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(data).digest()).decode()}
        if only_if_absent:
            headers["if-none-match"] = "*"
        for _ in range(_CONFLICT_ATTEMPTS):
            answer = self._service.call("PUT", self._path(key), headers=headers, body=data)
            if answer.status != 409:  # else another write of the key was under way
                break
        if answer.status == 412:
            raise BlobExistsError(f"s3://{self._bucket}/{key} exists")
        self._require(answer, "write", key)
        return _etag(answer)

    def get(self, key: str) -> Blob:
        """Return the object.

        Raises:
            BlobMissingError: there is none.
        """
        answer = self._get(key, {})
        return Blob(answer.body, _etag(answer))

    def get_if_changed(self, key: str, etag: str | None) -> Blob | None:
        """Return the object, or None when its etag is still ``etag``.

        Raises:
            BlobMissingError: there is none.
        """
        answer = self._get(key, {} if etag is None else {"if-none-match": f'"{etag}"'})
        return None if answer.status == 304 else Blob(answer.body, _etag(answer))

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        """Return the object as a stream; with ``etag``, only while the object still carries it.

        Raises:
            BlobMissingError: there is none, or none with that etag.
        """
        return io.BytesIO(self._get(key, {} if etag is None else {"if-match": f'"{etag}"'}).body)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield every object whose key starts with ``prefix``, in key order; a page of 1000 is read at a time."""
        from xml.etree import ElementTree as ET  # noqa: PLC0415 - not on the road of a prediction

        query = [("list-type", "2"), ("prefix", prefix)]
        token: list[tuple[str, str]] = []
        while True:
            answer = self._service.call("GET", self._root or "/", query=[*query, *token])
            self._require(answer, "list", prefix)
            # S3's own answer over a signed connection, not a stranger's document
            page = ET.fromstring(answer.body)  # noqa: S314
            space = page.tag.partition("}")[0] + "}" if page.tag.startswith("{") else ""
            for item in page.iter(f"{space}Contents"):
                found = {part.tag.removeprefix(space): part.text or "" for part in item}
                modified_at = datetime.fromisoformat(found["LastModified"])
                yield BlobInfo(found["Key"], int(found["Size"]), found["ETag"].strip('"'), modified_at)
            if page.findtext(f"{space}IsTruncated") != "true":
                return
            token = [("continuation-token", page.findtext(f"{space}NextContinuationToken", ""))]

    def delete(self, key: str) -> None:
        """Remove the object; no error when there is none."""
        answer = self._service.call("DELETE", self._path(key))
        if answer.status != 404 or _code(answer) != "NoSuchKey":
            self._require(answer, "delete", key)

    def _path(self, key: str) -> str:
        return f"{self._root}/{quoted_path(key)}"

    def _get(self, key: str, condition: Mapping[str, str]) -> Answer:
        answer = self._service.call("GET", self._path(key), headers=condition)
        if answer.status == 412 or _code(answer) == "NoSuchKey":
            raise BlobMissingError(f"s3://{self._bucket}/{key}: {_code(answer)}")
        if answer.status != 304:
            self._require(answer, "read", key)
        return answer

    def _require(self, answer: Answer, action: str, key: str) -> None:
        """Raise TransientError, with S3's own words, unless the answer says that all is well."""
        if not 200 <= answer.status < 300:
            said = _code(answer) or f"status {answer.status}"
            raise TransientError(f"{action} s3://{self._bucket}/{key}: {said}")


def _etag(answer: Answer) -> str:
    etag = answer.headers.get("etag", "").strip('"')
    if not etag:
        raise TransientError("S3 answered without an etag")
    return etag


def _code(answer: Answer) -> str:
    found = _CODE.search(answer.body) if answer.status >= 400 else None
    return found.group(1).decode("utf-8", "replace") if found else ""
