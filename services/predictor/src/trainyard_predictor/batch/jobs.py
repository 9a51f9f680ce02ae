"""Where jobs are kept: an object each, changed by compare-and-set alone, and a marker for each that has not ended.

``batch/jobs/{id}`` the job · ``batch/open/{id}`` the marker, written before it and removed after its end ·
``batch/keys/{hash}`` which job an Idempotency-Key, or a dropped object, has led to · ``batch/work/{id}/{rows}`` what a
checkpoint holds that is in no part yet · ``batch/uploads/{id}`` inputs that came over HTTP.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgpack

from trainyard import logs
from trainyard.contracts.blobs import BlobExistsError, BlobMissingError
from trainyard.contracts.part_store import BlobChangedError
from trainyard.contracts.queue import Outgoing
from trainyard.crashpoints import crashpoint, step
from trainyard.errors import ServiceError, TransientError
from trainyard.frozen import dataclass, replace
from trainyard_predictor.batch.job import CANCELLED, Job, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobInfo
    from trainyard.contracts.part_store import PartStore
    from trainyard.contracts.queue import Queue

IN, JOBS, OPEN, KEYS, WORK, UPLOADS = (
    "batch/in/",
    "batch/jobs/",
    "batch/open/",
    "batch/keys/",
    "batch/work/",
    "batch/uploads/",
)
_CANCEL_ATTEMPTS = 20
_log = logs.get(__name__)


@dataclass(frozen=True)
class Origin:
    """What makes asking for a job twice the same: ``word`` names it, ``asked`` is what was asked for."""

    word: str
    asked: str


class Jobs:
    """All jobs of one bucket. ``queue`` is told which have something to do; it may lose that."""

    def __init__(self, blobs: PartStore, queue: Queue, clock: Clock) -> None:
        self._blobs = blobs
        self._queue = queue
        self._clock = clock

    def read(self, job_id: str) -> tuple[Job, str]:
        """Return a job and the etag of its object.

        Raises:
            ServiceError: ``unknown_batch_job``; ``unavailable`` when this release cannot read it.
        """
        try:
            blob = self._blobs.get(JOBS + job_id)
            return decode(blob.data), blob.etag
        except BlobMissingError:
            raise ServiceError("unknown_batch_job", f"there is no batch job {job_id!r}") from None
        except ValueError as e:
            _log.error("batch.unreadable", error=e, job=job_id)
            raise ServiceError("unavailable", f"the batch job {job_id} is of another release") from e

    def after(self, cursor: str) -> Iterator[Job]:
        """Yield the jobs behind the id ``cursor``, newest first; from the newest on where it is empty."""
        listed = self._blobs.list_after(JOBS, JOBS + cursor) if cursor else self._blobs.list(JOBS)
        for info in listed:
            try:
                yield self.read(info.key.removeprefix(JOBS))[0]
            except ServiceError:
                continue  # removed between the listing and now, or of another release

    def known(self, origin: Origin) -> Job | None:
        """Return the job that the origin has led to, if it has.

        Raises:
            ServiceError: ``key_reused``: it was something else that was asked for then.
        """
        try:
            found = msgpack.unpackb(self._blobs.get(_key(origin)).data)
        except BlobMissingError:
            return None
        self._check(found, origin)
        try:
            return self.read(found["id"])[0]
        except ServiceError:  # whoever noted it died before the job was there
            return None

    def create(self, job: Job, origin: Origin | None) -> Job:
        """Keep a new job and have it worked on; return it, or the one that the same origin has led to before.

        Raises:
            ServiceError: ``key_reused``.
        """
        if origin is not None:
            packed: bytes = msgpack.packb({"id": job.id, "asked": origin.asked})
            try:
                self._blobs.put(_key(origin), packed, only_if_absent=True)
            except BlobExistsError:
                found = msgpack.unpackb(self._blobs.get(_key(origin)).data)
                self._check(found, origin)
                job = replace(job, id=found["id"])
        self._blobs.put(OPEN + job.id, b"")
        crashpoint("K47")
        try:
            with step("K48"):
                self._blobs.put(JOBS + job.id, encode(job), only_if_absent=True)
        except BlobExistsError:
            return self.read(job.id)[0]
        _log.info("batch.created", job=job.id, model=job.model, version=job.version, source=job.source)
        self.call_for(job.id)
        return job

    def replace(self, job: Job, etag: str) -> str:
        """Store the job in place of that with ``etag``; return the new etag.

        Raises:
            BlobChangedError: somebody else has changed it.
        """
        data = encode(job)
        try:
            with step("K50"):
                return self._blobs.replace(JOBS + job.id, data, etag)
        except BlobChangedError:
            blob = self._blobs.get_if_changed(JOBS + job.id, None)
            if blob is not None and blob.data == data:  # it was us, and the answer was lost
                return blob.etag
            raise

    def cancel(self, job_id: str) -> Job:
        """End a job that has not ended; return it. Whoever works on it notices at its next checkpoint.

        Raises:
            ServiceError: ``unknown_batch_job``, or ``unavailable`` when it changes all the time.
        """
        for _ in range(_CANCEL_ATTEMPTS):
            job, etag = self.read(job_id)
            if job.ended:
                return job
            ended = replace(job, state=CANCELLED, owner=None, lease_until=0.0, finished_at=self.now())
            try:
                self.replace(ended, etag)
            except BlobChangedError:
                continue
            _log.info("batch.cancelled", job=job_id, rows=job.rows)
            self.tidy(ended)
            return ended
        raise ServiceError("unavailable", "the job is being worked on; try again", retry_after_seconds=1)

    def tidy(self, job: Job) -> None:
        """Remove what a job that has ended needs no more, the marker last."""
        for key, upload in ((job.output_key, job.output_upload), (job.rejects_key, job.rejects_upload)):
            if upload is not None:
                self._blobs.abort_upload(key, upload)
        for info in self._blobs.list(f"{WORK}{job.id}/"):
            self._blobs.delete(info.key)
        self._blobs.delete(OPEN + job.id)

    def files(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the objects under a prefix."""
        return self._blobs.list(prefix)

    def open(self) -> Iterator[BlobInfo]:
        """Yield the markers of jobs that may have something to do."""
        return self._blobs.list(OPEN)

    def forget(self, marker: BlobInfo) -> None:
        """Remove the marker of a job that never came to be."""
        self._blobs.delete(marker.key)

    def call_for(self, job_id: str) -> None:
        """Ask for somebody to work on a job; if the queue does not answer, it is found by its marker later."""
        body = b'{"batch_job":"%b"}' % job_id.encode()
        try:
            refused = self._queue.send([Outgoing("", body.decode())])
        except TransientError as e:
            _log.warning("batch.not_called_for", job=job_id, reason=str(e))
            return
        if refused:
            _log.warning("batch.not_called_for", job=job_id, reason="the queue refused the message")

    def now(self) -> float:
        """Return the Unix time."""
        return self._clock.now().timestamp()

    @staticmethod
    def _check(found: dict[str, str], origin: Origin) -> None:
        if found["asked"] != origin.asked:
            raise ServiceError("key_reused", "the Idempotency-Key was used for another batch job")


def _key(origin: Origin) -> str:
    return KEYS + hashlib.sha256(origin.word.encode("utf-8", "surrogatepass")).hexdigest()
