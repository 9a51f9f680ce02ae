"""What is done about jobs without being asked: those that nobody works on are taken up, missed files are found.

A queue may lose what it was told, and a worker its life. Markers of jobs that have not ended, and the files under IN of
the last day, are looked at from time to time; between two looks nothing is remembered but the files that were seen.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import ServiceError, TransientError
from trainyard_predictor.batch.jobs import IN, OPEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.clock import Clock
    from trainyard_predictor.batch.intake import Intake
    from trainyard_predictor.batch.jobs import Jobs
    from trainyard_predictor.batch.work import Work

#: A file is left to its notification for so long; how far back a look goes.
_FRESH, _BACK = timedelta(seconds=30), timedelta(days=1)
#: A marker is written just before its job: one this old has none.
_NEVER = timedelta(hours=1)
_log = logs.get(__name__)


class Batch:
    """Everything about batch jobs that messages and timers ask for.

    Args:
        slice_seconds: longest turn on one job.
    """

    def __init__(self, jobs: Jobs, intake: Intake, work: Work, clock: Clock, *, slice_seconds: float) -> None:
        self._jobs = jobs
        self._intake = intake
        self._work = work
        self._clock = clock
        self._slice_seconds = slice_seconds
        self._seen: set[tuple[str, str]] = set()

    def work_on(
        self, job_id: str, *, seconds_left: float | None = None, stopping: Callable[[], bool] = lambda: False
    ) -> str:
        """Give a job one turn, which ends in good time before ``seconds_left`` are over; return what came of it.

        Raises:
            TransientError: something does not answer.
        """
        seconds = self._slice_seconds
        if seconds_left is not None:  # a chunk is under way when the time is over, and then the checkpoint is written
            seconds = min(seconds, max(0.0, seconds_left * 0.8 - 5))
        return self._work.advance(job_id, seconds, stopping)

    def dropped(self, key: str) -> None:
        """Make the job of an object that S3 told of.

        Raises:
            TransientError: something does not answer.
        """
        for info in self._intake.drops(key):
            try:
                self._intake.dropped(info)
            except ServiceError as e:
                raise TransientError(str(e)) from e
            self._seen.add((info.key, info.etag))

    def look(self, stopping: Callable[[], bool] = lambda: False, *, seconds_left: float | None = None) -> int:
        """Make the jobs of files that nobody told of, and see to the jobs that nobody works on; return how many.

        Where there are only ``seconds_left``, they are asked for by a message each; else each has a turn now.

        Raises:
            TransientError: something does not answer.
        """
        now = self._clock.now()
        recent = [info for info in self._jobs.files(IN) if _FRESH < now - info.modified_at < _BACK]
        for info in recent:
            if (info.key, info.etag) not in self._seen:
                self.dropped(info.key)
        self._seen &= {(info.key, info.etag) for info in recent}
        turns = 0
        for marker in self._jobs.open():
            job_id = marker.key.removeprefix(OPEN)
            if stopping():
                break
            try:
                job, _ = self._jobs.read(job_id)
            except ServiceError as e:
                if e.code == "unknown_batch_job" and now - marker.modified_at > _NEVER:
                    self._jobs.forget(marker)
                continue
            if job.owner is not None and job.lease_until > self._jobs.now():
                continue
            turns += 1
            if seconds_left is None:
                self.work_on(job_id, stopping=stopping)
            else:
                self._jobs.call_for(job_id)
        return turns
