"""A blob store on one S3 bucket."""

from __future__ import annotations

import io
from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from botocore.exceptions import ClientError

from trainyard.adapters.aws.errors import code_of, repaired, status_of, translated
from trainyard.contracts.blobs import Blob, BlobExistsError, BlobInfo, BlobMissingError, BlobStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Answer = TypeVar("_Answer")
_CONFLICT_ATTEMPTS = 3
_STREAM_BUFFER_BYTES = 1 << 20


class S3Blobs(BlobStore):
    """The bucket ``bucket``; ``on_missing`` makes it when S3 says that there is none, once per call."""

    def __init__(self, client: Any, bucket: str, *, on_missing: Callable[[], None] | None = None) -> None:
        self._client = client
        self._bucket = bucket
        self._on_missing = on_missing

    def put(self, key: str, data: bytes | BinaryIO, *, only_if_absent: bool = False) -> str:
        """Store ``data`` and return its etag.

        Raises:
            BlobExistsError: ``only_if_absent`` and the key is taken; also when the answer to an earlier attempt
                was lost on the way, so compare the contents before calling it a conflict.
        """
        condition = {"IfNoneMatch": "*"} if only_if_absent else {}

        def call() -> str:
            if not isinstance(data, bytes):
                data.seek(0)  # an attempt before this one may have read it
            try:
                answer = self._client.put_object(
                    Bucket=self._bucket, Key=key, Body=data, ChecksumAlgorithm="SHA256", **condition
                )
            except ClientError as e:
                if status_of(e) == 412:
                    raise BlobExistsError(f"s3://{self._bucket}/{key} exists") from e
                raise
            return _bare(answer["ETag"])

        with translated(f"write s3://{self._bucket}/{key}"):
            return self._call(lambda: _past_conflicts(call))

    def get(self, key: str) -> Blob:
        """Return the object.

        Raises:
            BlobMissingError: there is none.
        """
        with translated(f"read s3://{self._bucket}/{key}"):
            return _whole(self._get(key))

    def get_if_changed(self, key: str, etag: str | None) -> Blob | None:
        """Return the object, or None when its etag is still ``etag``.

        Raises:
            BlobMissingError: there is none.
        """
        if etag is None:
            return self.get(key)
        with translated(f"read s3://{self._bucket}/{key}"):
            try:
                answer = self._get(key, IfNoneMatch=f'"{etag}"')
            except ClientError as e:
                if status_of(e) == 304:
                    return None
                raise
            return _whole(answer)

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        """Return a stream over the object; with ``etag``, only while the object still carries it.

        Reading raises TransientError when the connection breaks before the end.

        Raises:
            BlobMissingError: there is none, or none with that etag.
        """
        condition = {"IfMatch": f'"{etag}"'} if etag is not None else {}
        with translated(f"read s3://{self._bucket}/{key}"):
            answer = self._get(key, **condition)
        stream = _ObjectStream(answer["Body"], f"read s3://{self._bucket}/{key}")
        return io.BufferedReader(stream, _STREAM_BUFFER_BYTES)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield every object whose key starts with ``prefix``, in key order; a page of 1000 is read at a time."""
        token: dict[str, str] = {}
        while True:
            with translated(f"list s3://{self._bucket}/{prefix}"):
                page = self._list_page(prefix, token)
            for item in page.get("Contents", []):
                yield BlobInfo(item["Key"], int(item["Size"]), _bare(item["ETag"]), item["LastModified"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        """Remove the object; no error when there is none."""
        with translated(f"delete s3://{self._bucket}/{key}"):
            self._call(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    def _list_page(self, prefix: str, token: dict[str, str]) -> Any:
        return self._call(lambda: self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **token))

    def _get(self, key: str, **condition: str) -> Any:
        try:
            return self._call(lambda: self._client.get_object(Bucket=self._bucket, Key=key, **condition))
        except ClientError as e:
            if code_of(e) == "NoSuchKey" or status_of(e) == 412:
                raise BlobMissingError(f"s3://{self._bucket}/{key}: {code_of(e)}") from e
            raise

    def _call(self, call: Callable[[], _Answer]) -> _Answer:
        return repaired(call, self._on_missing)


class _ObjectStream(io.RawIOBase):
    """An object's body as a plain readable stream, whose failures are ours."""

    def __init__(self, body: Any, action: str) -> None:
        self._body = body
        self._action = action

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with translated(self._action):
            data: bytes = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()


def _whole(answer: Any) -> Blob:
    # Not `with answer["Body"] as body`: that gives urllib3's stream, which takes a broken connection for the end.
    with closing(answer["Body"]) as body:
        return Blob(body.read(), _bare(answer["ETag"]))


def _past_conflicts(call: Callable[[], _Answer]) -> _Answer:
    """Repeat a conditional write that S3 answered with 409: another write of the key was under way."""
    for _ in range(_CONFLICT_ATTEMPTS - 1):
        try:
            return call()
        except ClientError as e:
            if status_of(e) != 409:
                raise
    return call()


def _bare(etag: str) -> str:
    return etag.strip('"')
