"""Multipart uploads to an S3 bucket that nobody completed: their parts cost money and are in no listing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from trainyard.adapters.aws.errors import code_of, translated
from trainyard.contracts.upkeep import Upload, Uploads

if TYPE_CHECKING:
    from collections.abc import Iterator

_RULE_ID = "trainyard-unfinished-uploads"


class S3Uploads(Uploads):
    """Those of ``bucket``."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def unfinished(self) -> Iterator[Upload]:
        """Yield every unfinished upload, a page of 1000 at a time."""
        marker: dict[str, str] = {}
        while True:
            with translated(f"list uploads to s3://{self._bucket}"):
                page = self._client.list_multipart_uploads(Bucket=self._bucket, **marker)
            for item in page.get("Uploads", []):
                yield Upload(item["Key"], item["UploadId"], item["Initiated"])
            if not page.get("IsTruncated"):
                return
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def abort(self, upload: Upload) -> None:
        """Throw the parts away; an upload that is gone is no error."""
        with translated(f"abort an upload to s3://{self._bucket}/{upload.key}"):
            try:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload.key, UploadId=upload.upload_id)
            except ClientError as e:
                if code_of(e) != "NoSuchUpload":
                    raise


def ensure_rule(client: Any, bucket: str) -> bool:
    """Let the bucket abort unfinished uploads after a day, beside the rules it has; return whether that was news."""
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", [])
    except ClientError as e:
        if code_of(e) != "NoSuchLifecycleConfiguration":
            raise
        rules = []
    ours = {
        "ID": _RULE_ID,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
    if any(rule.get("ID") == _RULE_ID and rule.get("Status") == "Enabled" for rule in rules):
        return False
    others = [rule for rule in rules if rule.get("ID") != _RULE_ID]
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*others, ours]})
    return True
