"""Bringing jobs on: claim one, score chunk after chunk, write down how far it got, hand it back in time.

Two workers may think for a while that a job is theirs. Both then send the same bytes as the same parts, and only one of
them gets the next checkpoint written: the state is changed by compare-and-set.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgpack

from trainyard import logs, strict_json
from trainyard.contracts.blobs import BlobMissingError
from trainyard.contracts.part_store import MIN_PART_BYTES, BlobChangedError, UploadMissingError
from trainyard.crashpoints import step
from trainyard.errors import ServiceError, TransientError
from trainyard.frozen import dataclass, replace
from trainyard_predictor import domain
from trainyard_predictor.batch.job import CSV, DONE, FAILED, RUNNING
from trainyard_predictor.batch.jobs import WORK
from trainyard_predictor.batch.output import Sink
from trainyard_predictor.batch.records import Records
from trainyard_predictor.batch.scoring import Scorer
from trainyard_predictor.batch.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

    from trainyard.clock import Clock
    from trainyard.contracts.part_store import PartStore
    from trainyard_predictor.batch.job import Job
    from trainyard_predictor.batch.jobs import Jobs
    from trainyard_predictor.batch.scoring import Scored
    from trainyard_predictor.use_cases import Models, PredictionLog

#: What came of a turn: the job has ended, is to be taken up again, or belongs to somebody else just now.
ENDED, MORE, HELD = "ended", "more", "held"
#: How often it is written down how far a job got, in seconds, when no part is full before.
CHECKPOINT_SECONDS = 10.0
#: How often a job is taken up without getting on before it counts as poison.
MOST_CLAIMS = 5
_MOST_RESTARTS = 3
_log = logs.get(__name__)


class _LostError(Exception):
    """The job is no longer ours: its lease ran out and somebody took it, or it was cancelled."""


@dataclass(frozen=True)
class Limits:
    """How a worker works.

    Attributes:
        lease_seconds: how soon others may take up a job whose worker is gone.
        part_bytes: size of a part of the output, at least what the store asks for.
    """

    lease_seconds: float = 60.0
    part_bytes: int = MIN_PART_BYTES


@dataclass(frozen=True)
class Tools:
    """What a worker works with."""

    jobs: Jobs
    blobs: PartStore
    models: Models
    log: PredictionLog
    clock: Clock
    limits: Limits = Limits()


class Work:
    """Brings jobs on, one at a time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def advance(self, job_id: str, seconds: float, stopping: Callable[[], bool] = lambda: False) -> str:
        """Work on a job for about ``seconds``, or until ``stopping`` says so; return what came of it.

        Raises:
            TransientError: something does not answer; the job is as at its last checkpoint.
        """
        jobs = self._tools.jobs
        try:
            job, etag = jobs.read(job_id)
        except ServiceError:
            return ENDED  # it never came to be, had its time, or is of a release that somebody else runs
        if job.ended:
            jobs.tidy(job)
            return ENDED
        if job.owner is not None and job.lease_until > jobs.now():
            return HELD
        turn = _Turn(self._tools, job, etag)
        try:
            return turn.run(seconds, stopping)
        except _LostError:
            _log.info("batch.lost", job=job_id)
            return HELD


class _Turn:
    """One worker's turn on one job."""

    def __init__(self, tools: Tools, job: Job, etag: str) -> None:
        self._tools = tools
        self._jobs, self._blobs, self._clock, self._limits = tools.jobs, tools.blobs, tools.clock, tools.limits
        self._job = job
        self._etag = etag
        self._owner = os.urandom(8).hex()
        self._began = self._noted_at = self._clock.monotonic()

    def run(self, seconds: float, stopping: Callable[[], bool]) -> str:
        job = self._job
        self._note(state=RUNNING, claims=job.claims + 1, started_at=job.started_at or self._jobs.now())
        if self._job.claims > MOST_CLAIMS:
            return self._fail("internal", f"it was taken up {MOST_CLAIMS} times and never got on; see the log")
        try:
            return self._score(seconds, stopping)
        except UploadMissingError as e:
            return self._start_over(e)
        except ServiceError as e:
            if e.code == "unavailable":
                raise TransientError(str(e)) from e
            return self._fail(e.code, e.message)

    def _score(self, seconds: float, stopping: Callable[[], bool]) -> str:
        job = self._job
        served = self._tools.models.get(domain.Target(job.model, None, job.version))
        source = Source(self._blobs, job)
        records = Records(source.lines(job.read), job.form, read=job.read, line=job.line)
        output, rejects = self._sinks()
        names: list[str] = []
        if job.form == CSV:
            header = job.header
            if header is None:
                names, header = records.header()
            else:
                names, _ = Records(iter([header.encode()]), job.form).header()
            score = Scorer(served, job, names)
            if job.header is None:
                output.add(score.heading(header))
            job = replace(job, header=header)
        else:
            score = Scorer(served, job)
        while (chunk := records.chunk()) is not None:
            scored = score(chunk, job.rows)
            self._log_sample(scored)
            job = replace(
                job,
                rows=job.rows + len(chunk),
                good=job.good + scored.good,
                bad=job.bad + scored.bad,
                read=records.read,
                line=records.line,
                taken=min(source.taken, job.size) if job.packed else records.read,
            )
            full = [output.add(scored.output), rejects.add(scored.rejects)]
            now = self._clock.monotonic()
            over = now - self._began >= seconds or stopping()
            if any(full) or over or now - self._noted_at >= min(CHECKPOINT_SECONDS, self._limits.lease_seconds / 3):
                job = self._checkpoint(job, output, rejects)
            if over:
                self._note(owner=None, lease_until=0.0)
                self._jobs.call_for(job.id)
                return MORE
        return self._finish(job, output, rejects)

    def _sinks(self) -> tuple[Sink, Sink]:
        """Return output and rejects as they stood at the last checkpoint."""
        job = self._job
        waiting = [b"", b""]
        if job.pending is not None:
            try:
                waiting = msgpack.unpackb(self._blobs.get(_pending_key(job)).data)
            except BlobMissingError as e:
                raise UploadMissingError(f"the checkpoint of {job.id} is gone") from e
        part_bytes = self._limits.part_bytes
        return (
            Sink(
                self._blobs,
                job.output_key,
                part_bytes=part_bytes,
                upload_id=job.output_upload,
                parts=job.output_parts,
                size=job.output_bytes,
                waiting=waiting[0],
            ),
            Sink(
                self._blobs,
                job.rejects_key,
                part_bytes=part_bytes,
                upload_id=job.rejects_upload,
                parts=job.rejects_parts,
                size=job.rejects_bytes,
                waiting=waiting[1],
            ),
        )

    def _checkpoint(self, job: Job, output: Sink, rejects: Sink) -> Job:
        """Write down how far the job got: first what is in no part yet, then the job itself."""
        before = self._job
        pending = job.rows if output.waiting or rejects.waiting else None
        job = replace(_with_sinks(job, output, rejects), pending=pending)
        if pending is not None:
            packed: bytes = msgpack.packb([bytes(output.waiting), bytes(rejects.waiting)])
            with step("K52"):
                self._blobs.put(_pending_key(job), packed)
        self._job = job
        self._note(claims=0)
        if before.pending is not None and before.pending != pending:
            self._blobs.delete(_pending_key(before))
        return self._job

    def _finish(self, job: Job, output: Sink, rejects: Sink) -> str:
        self._note()  # as at the last checkpoint: only whoever holds the job makes its output
        output.finish()
        if rejects.size:
            rejects.finish()
        self._job = replace(
            _with_sinks(job, output, rejects),
            state=DONE,
            taken=job.size,
            pending=None,
            finished_at=self._jobs.now(),
            busy_seconds=self._job.busy_seconds,
        )
        self._blobs.put(self._job.summary_key, strict_json.dumps(self._job.as_dict()))
        return self._end()

    def _fail(self, code: str, message: str) -> str:
        self._job = replace(
            self._job, state=FAILED, finished_at=self._jobs.now(), error_code=code, error_message=message[:2000]
        )
        return self._end()

    def _end(self) -> str:
        self._note(owner=None, lease_until=0.0)
        job = self._job
        _log.info("batch.ended", job=job.id, state=job.state, rows=job.rows, bad=job.bad, reason=job.error_code)
        self._jobs.tidy(job)
        return ENDED

    def _start_over(self, why: UploadMissingError) -> str:
        """Begin anew: the store has let go of an upload, as it does after a day."""
        job, etag = self._jobs.read(self._job.id)
        if etag != self._etag:  # somebody else has ended the job, and the upload with it
            raise _LostError(str(why))
        if job.restarts >= _MOST_RESTARTS:
            return self._fail("internal", f"its upload was lost {job.restarts + 1} times: {why}")
        _log.warning("batch.restarted", job=job.id, reason=str(why))
        for key, upload in ((job.output_key, job.output_upload), (job.rejects_key, job.rejects_upload)):
            if upload is not None:
                self._blobs.abort_upload(key, upload)
        self._job = replace(
            job, header=None, read=0, taken=0, line=0, rows=0, good=0, bad=0, pending=None, restarts=job.restarts + 1,
            output_upload=None, output_parts=0, output_bytes=0, rejects_upload=None, rejects_parts=0, rejects_bytes=0,
        )  # fmt: skip
        self._note(owner=None, lease_until=0.0)
        self._jobs.call_for(job.id)
        return MORE

    def _note(self, **changes: Any) -> None:
        """Store the job as it is now, and as ours unless ``changes`` say otherwise.

        Raises:
            _LostError: it is no longer ours.
        """
        now = self._clock.monotonic()
        ours = {"owner": self._owner, "lease_until": self._jobs.now() + self._limits.lease_seconds}
        busy_seconds = self._job.busy_seconds + now - self._noted_at
        job = replace(self._job, **{**ours, "busy_seconds": busy_seconds, **changes})
        try:
            self._etag = self._jobs.replace(job, self._etag)
        except BlobChangedError as e:
            raise _LostError(str(e)) from e
        self._job = job
        self._noted_at = now

    def _log_sample(self, scored: Scored) -> None:
        """Log the rows that belong into the prediction log; a job can wait, so none goes unlogged."""
        if not scored.sample:
            return
        packed = _records(self._job, scored, self._clock.now())
        try:
            self._tools.log.append([one for one in packed if len(one) <= domain.MAX_RECORD_BYTES])
        except OSError as e:
            raise TransientError(f"the prediction log does not take the rows: {e}") from e


def _records(job: Job, scored: Scored, at: datetime) -> list[bytes]:
    ids, rows, answers = zip(*scored.sample, strict=True)
    query = domain.Query(domain.Target(job.model, None, job.version), list(rows), job.key_id, job.trace_id, None)
    outputs = [domain.output(answer) for answer in answers]
    return domain.records(query, job.version, ids, outputs, latency_us=0, predicted_at=at, pack=msgpack.packb)


def _pending_key(job: Job) -> str:
    return f"{WORK}{job.id}/{job.pending}"


def _with_sinks(job: Job, output: Sink, rejects: Sink) -> Job:
    return replace(
        job,
        output_upload=output.upload_id,
        output_parts=output.parts,
        output_bytes=output.size,
        rejects_upload=rejects.upload_id,
        rejects_parts=rejects.parts,
        rejects_bytes=rejects.size,
    )
