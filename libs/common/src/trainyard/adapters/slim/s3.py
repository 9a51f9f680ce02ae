"""A blob store on one S3 bucket, over signed requests of our own; what is read or written is in memory whole."""

from __future__ import annotations

import binascii
import hashlib
import io
import re
from datetime import datetime

from trainyard.adapters.slim.service import CALL_SECONDS, SILENCE_SECONDS, ServerFaultError
from trainyard.adapters.slim.sigv4 import quoted_path
from trainyard.contracts.blobs import Blob, BlobExistsError, BlobInfo, BlobMissingError
from trainyard.contracts.part_store import BlobChangedError, PartStore, UploadMissingError
from trainyard.errors import TransientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO
    from xml.etree.ElementTree import Element

    from trainyard.adapters.slim.http1 import Answer
    from trainyard.adapters.slim.service import Service

_CONFLICT_ATTEMPTS = 3
#: Completing an upload may take S3 minutes; nothing comes meanwhile, or blanks.
_COMPLETE_SECONDS = 300.0
#: The slowest connection over which a body is sent.
_BYTES_PER_SECOND = 1 << 20
_CODE = re.compile(rb"<Code>([^<]{1,80})</Code>")


class SlimBlobs(PartStore):
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
        answer = self._put(key, data, {"if-none-match": "*"} if only_if_absent else {})
        if answer.status == 412:
            raise BlobExistsError(f"s3://{self._bucket}/{key} exists")
        self._require(answer, "write", key)
        return _etag(answer)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        """Store ``data`` in place of the object that has ``etag``; return the new etag.

        Raises:
            BlobChangedError: it has another one, or there is none; also when the answer to an earlier attempt was lost.
        """
        answer = self._put(key, data, {"if-match": f'"{etag}"'})
        if answer.status == 412 or _code(answer) == "NoSuchKey":
            raise BlobChangedError(f"s3://{self._bucket}/{key} is no longer what it was")
        self._require(answer, "replace", key)
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

    def read_range(self, key: str, start: int, length: int, *, etag: str) -> bytes:
        """Return up to ``length`` bytes of the object with that etag, from ``start`` on.

        Raises:
            BlobMissingError: there is none, or none with that etag.
        """
        answer = self._get(key, {"if-match": f'"{etag}"', "range": f"bytes={start}-{start + length - 1}"})
        return answer.body[start : start + length] if answer.status == 200 else answer.body

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield every object whose key starts with ``prefix``, in key order; a page of 1000 is read at a time."""
        return self._listed([("prefix", prefix)], prefix)

    def list_after(self, prefix: str, after: str) -> Iterator[BlobInfo]:
        """Yield the objects whose keys start with ``prefix`` and come behind ``after``, in key order."""
        return self._listed([("prefix", prefix), ("start-after", after)], prefix)

    def begin_upload(self, key: str) -> str:
        """Begin to put an object together; return the id of the upload."""
        answer = self._service.call("POST", self._path(key), query=[("uploads", "")])
        self._require(answer, "begin an upload to", key)
        page, space = _document(answer)
        upload_id = page.findtext(f"{space}UploadId", "")
        if not upload_id:
            raise TransientError(f"S3 began an upload to {key} and gave it no id")
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> None:
        """Send part ``number``, in place of one that was sent before.

        Raises:
            UploadMissingError: the upload is not open.
        """
        query = [("partNumber", str(number)), ("uploadId", upload_id)]
        try:
            answer = self._send(key, data, query=query)
        except ServerFaultError:
            next(self._parts(key, upload_id), None)  # moto has no other answer for an upload that is not open
            raise
        self._about_upload("send a part of", key, answer)

    def complete_upload(self, key: str, upload_id: str, parts: int) -> None:
        """Make the object of parts 1 to ``parts``.

        Raises:
            UploadMissingError: the upload is not open, or has other parts than these.
        """
        etags = dict(self._parts(key, upload_id))
        if sorted(etags) != list(range(1, parts + 1)):
            raise UploadMissingError(f"the upload to s3://{self._bucket}/{key} has {len(etags)} parts of {parts}")
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in sorted(etags.items())
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        answer = self._service.call(
            "POST",
            self._path(key),
            query=[("uploadId", upload_id)],
            headers={"content-type": "application/xml"},
            body=body,
            seconds=_COMPLETE_SECONDS,
            silence_seconds=_COMPLETE_SECONDS,
        )
        self._about_upload("complete", key, answer)
        if b"<Error>" in answer.body:  # S3 may begin to answer before it knows how it ends
            raise TransientError(f"complete s3://{self._bucket}/{key}: {_code_in(answer.body)}")

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Throw the parts away; an upload that is gone is no error."""
        answer = self._service.call("DELETE", self._path(key), query=[("uploadId", upload_id)])
        if answer.status != 404:
            self._require(answer, "abort an upload to", key)

    def delete(self, key: str) -> None:
        """Remove the object; no error when there is none."""
        answer = self._service.call("DELETE", self._path(key))
        if answer.status != 404 or _code(answer) != "NoSuchKey":
            self._require(answer, "delete", key)

    def _put(self, key: str, data: bytes, condition: Mapping[str, str]) -> Answer:
        checksum = binascii.b2a_base64(hashlib.sha256(data).digest(), newline=False).decode()
        headers = {"x-amz-checksum-sha256": checksum, **condition}
        for _ in range(_CONFLICT_ATTEMPTS):
            answer = self._send(key, data, headers=headers)
            if answer.status != 409:  # else another write of the key was under way
                break
        return answer

    def _send(
        self, key: str, data: bytes, *, query: Sequence[tuple[str, str]] = (), headers: Mapping[str, str] | None = None
    ) -> Answer:
        """PUT ``data``; a large body is given a second more for each MiB."""
        more = len(data) / _BYTES_PER_SECOND
        return self._service.call(
            "PUT",
            self._path(key),
            query=query,
            headers=headers,
            body=data,
            seconds=CALL_SECONDS + more,
            silence_seconds=SILENCE_SECONDS + more,
        )

    def _listed(self, asked: Sequence[tuple[str, str]], prefix: str) -> Iterator[BlobInfo]:
        token: list[tuple[str, str]] = []
        while True:
            answer = self._service.call("GET", self._root or "/", query=[("list-type", "2"), *asked, *token])
            self._require(answer, "list", prefix)
            page, space = _document(answer)
            for item in page.iter(f"{space}Contents"):
                found = {part.tag.removeprefix(space): part.text or "" for part in item}
                modified_at = datetime.fromisoformat(found["LastModified"])
                yield BlobInfo(found["Key"], int(found["Size"]), found["ETag"].strip('"'), modified_at)
            if page.findtext(f"{space}IsTruncated") != "true":
                return
            token = [("continuation-token", page.findtext(f"{space}NextContinuationToken", ""))]

    def _parts(self, key: str, upload_id: str) -> Iterator[tuple[int, str]]:
        """Yield number and etag of every part that S3 has."""
        marker = "0"
        while True:
            query = [("uploadId", upload_id), ("part-number-marker", marker)]
            answer = self._service.call("GET", self._path(key), query=query)
            self._about_upload("list the parts of", key, answer)
            page, space = _document(answer)
            for item in page.iter(f"{space}Part"):
                yield int(item.findtext(f"{space}PartNumber", "0")), item.findtext(f"{space}ETag", "")
            if page.findtext(f"{space}IsTruncated") != "true":
                return
            marker = page.findtext(f"{space}NextPartNumberMarker", "")

    def _about_upload(self, action: str, key: str, answer: Answer) -> None:
        if answer.status == 404 and _code(answer) == "NoSuchUpload":
            raise UploadMissingError(f"{action} s3://{self._bucket}/{key}: the upload is not open")
        self._require(answer, action, key)

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
    return _code_in(answer.body) if answer.status >= 400 else ""


def _code_in(body: bytes) -> str:
    found = _CODE.search(body)
    return found.group(1).decode("utf-8", "replace") if found else ""


def _document(answer: Answer) -> tuple[Element, str]:
    """Return the root of an XML answer, and what stands before the names of its elements."""
    from xml.etree import ElementTree as ET  # noqa: PLC0415 - not on the road of a prediction

    # S3's own answer over a signed connection, not a stranger's document
    page = ET.fromstring(answer.body)  # noqa: S314
    return page, page.tag.partition("}")[0] + "}" if page.tag.startswith("{") else ""
