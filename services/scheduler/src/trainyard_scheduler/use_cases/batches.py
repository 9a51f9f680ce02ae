"""Batch jobs whose time is over: what the predictor keeps of them on S3, and what they made.

The predictor may write there and not know when enough is enough; a rule of the bucket would do it on AWS alone.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from trainyard import logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trainyard.contracts.blobs import BlobStore

#: Everything below batch/ but batch/in/, whose files are other people's. Results go before the jobs that name them.
PLACES = ("batch/out/", "batch/uploads/", "batch/work/", "batch/keys/", "batch/open/", "batch/jobs/")
#: Objects that one step removes at most.
MOST = 1_000
_log = logs.get(__name__)


def forget_batches(blobs: BlobStore, now: datetime, keep_days: float) -> int:
    """Remove what was written more than ``keep_days`` ago; return how many objects.

    Raises:
        TransientError: the store does not answer; what was removed so far is gone.
    """
    old = list(islice(_old(blobs, now - timedelta(days=keep_days)), MOST))
    for key in old:
        blobs.delete(key)
    if old:
        _log.info("sweep.forgot_batches", objects=len(old))
    return len(old)


def _old(blobs: BlobStore, before: datetime) -> Iterator[str]:
    for prefix in PLACES:
        yield from (info.key for info in blobs.list(prefix) if info.modified_at < before)
