"""Files that are scored as a whole: sent, watched, fetched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from trainyard_client import bodies
from trainyard_client.areas.calls import Calls, in_path
from trainyard_client.errors import MisuseError, WaitTimeoutError
from trainyard_client.formats import CONTENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Json = dict[str, Any]

_PATH = "/v1/batch-jobs"
#: Formats that are scored in batches.
FORMATS = ("csv", "ndjson")
#: States in which nothing more happens to a job.
ENDED = frozenset({"done", "failed", "cancelled"})
_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 900.0
_PAGE = 100
#: What the service sends in one answer at most.
_PIECE_BYTES = 4 << 20


class BatchJobs(Calls):
    """Batch jobs (docs/batch.md)."""

    def score_batch(
        self,
        model: str,
        source: Any,
        *,
        version: int | str | None = None,
        log_share: float | None = None,
        format: str | None = None,  # noqa: A002 - the word that callers expect
        key: str | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Json:
        """Send a file and return the job that scores it.

        Args:
            source: a path, an open binary file, bytes, or an iterable of rows as dictionaries.
            version: a version's number or an alias; by default the champion. The job keeps it.
            log_share: share of the rows that goes to the prediction log, from 0 to 1.
            format: ``csv`` or ``ndjson``; by default the ending of the file's name tells it, also before ``.gz``.
            key: idempotency key; the same key leads to the same job.
            progress: called with the bytes that were sent, and of how many, None while that is not known.

        Raises:
            MisuseError: the format is not clear, or is not scored in batches.
            OSError: a file cannot be read.
        """
        with bodies.opened(source, format) as body:
            if body.format not in FORMATS:
                raise MisuseError(f"{body.format} is not scored in batches; send {' or '.join(FORMATS)}")
            name = os.path.basename(os.fspath(source)) if isinstance(source, str | os.PathLike) else ""  # noqa: PTH119
            params = {"model": _target(model, version), "log_share": log_share, "name": name or None}
            size = body.size
            return self._sent(
                "POST",
                _PATH,
                params={word: value for word, value in params.items() if value is not None},
                headers={"Content-Encoding": "gzip"} if body.gzipped else {},
                content_type=CONTENT_TYPES[body.format],
                idempotency_key=key,
                timeout=_PATIENCE_SECONDS,
                **bodies.payload(body, lambda sent: progress(sent, size) if progress is not None else None),
            )

    def score_object(
        self, model: str, input_key: str, *, version: int | str | None = None, log_share: float | None = None
    ) -> Json:
        """Return the job that scores an object which lies under ``batch/in/`` in the bucket."""
        body = {"model": _target(model, version), "input": input_key}
        return self._post(_PATH, body if log_share is None else {**body, "log_share": log_share})

    def batch_jobs(self, model: str | None = None) -> Iterator[Json]:
        """Yield the jobs that the key may know of, newest first."""
        return self._items(_PATH, {"model": model} if model else None, page_size=_PAGE)

    def batch_job(self, job_id: str) -> Json:
        """Return a job, with how far it is."""
        return self._get(f"{_PATH}/{in_path(job_id)}")

    def cancel_batch_job(self, job_id: str) -> Json:
        """End a job; what it has made so far goes."""
        return self._sent("DELETE", f"{_PATH}/{in_path(job_id)}")

    def wait_batch_job(self, job_id: str, *, seconds: float, on_progress: Callable[[Json], None] | None = None) -> Json:
        """Wait until a job has ended, and return it.

        Args:
            seconds: longest wait.
            on_progress: called with the job at every look.

        Raises:
            WaitTimeoutError: it has not ended in time.
        """
        deadline = self._clock.monotonic() + seconds
        while True:
            job = self.batch_job(job_id)
            if on_progress is not None:
                on_progress(job)
            if job["state"] in ENDED:
                return job
            if self._clock.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"batch job {job_id} is still {job['state']} after {seconds:.0f} s",
                    look=f"trainyard batch show {job_id}",
                )
            self._clock.sleep(_POLL_SECONDS)

    def batch_output(self, job: Json) -> Iterator[bytes]:
        """Yield the scored rows of a job that is done, block by block."""
        kind = "text/csv" if job["format"].startswith("csv") else "application/x-ndjson"
        return self._pieces(f"{_PATH}/{in_path(job['id'])}/output", kind, job["output_bytes"])

    def batch_rejects(self, job: Json) -> Iterator[bytes]:
        """Yield the bad lines of a job that is done as NDJSON, block by block."""
        return self._pieces(f"{_PATH}/{in_path(job['id'])}/rejects", "application/x-ndjson", job["rejects_bytes"])

    def _pieces(self, path: str, kind: str, size: int) -> Iterator[bytes]:
        start = 0
        while start < size:
            end = min(start + _PIECE_BYTES, size) - 1
            yield from self._transport.download(path, accept=kind, headers={"Range": f"bytes={start}-{end}"})
            start = end + 1


def _target(model: str, version: int | str | None) -> str:
    return model if version is None else f"{model}@{version}"
