"""The worker: take a message, claim its request, run it, publish what came of it, take the next.

The database is the truth, a message only a pointer. What becomes of the message follows from what became of the
request: settled, or handed back with a fresh message -> delete; held by somebody else -> hide; unreadable -> leave it,
the queue moves it to its dead letters; we lost it -> leave it, it is not ours.
"""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.contracts.runs import LeaseLostError
from trainyard.crashpoints import crashpoint
from trainyard.errors import MessageError, TransientError
from trainyard.messages import TrainingRequest, decode
from trainyard_trainer import workdir
from trainyard_trainer.domain import BlockedError, CancelledError, RunFailedError, StoppedError, worth_retrying
from trainyard_trainer.lease import LeaseKeeper
from trainyard_trainer.run import Run, pause

if TYPE_CHECKING:
    from trainyard.contracts.queue import Received
    from trainyard.contracts.runs import Job
    from trainyard_trainer.ports import Outside, Stop, TrainerSettings

log = logs.get(__name__)

_END_ATTEMPTS = 3


class Trainer:
    """One worker; call from the main thread, because children end with the thread that started them."""

    def __init__(self, outside: Outside, settings: TrainerSettings, stop: Stop) -> None:
        self._out = outside
        self._settings = settings
        self._stop = stop
        self._clock = outside.clock

    # --- the loop ---

    def run(self) -> None:
        """Work until asked to stop, or until there has been nothing to do for ``idle_seconds``."""
        workdir.sweep(self._settings.work_dir)
        idle_since = self._clock.monotonic()
        try:
            while not self._stop.reason:
                try:
                    self._out.children.warm()
                    if self.step():
                        idle_since = self._clock.monotonic()
                    elif self._clock.monotonic() - idle_since >= self._settings.idle_seconds and self.nothing_left():
                        self._end_instance()
                        return
                except TransientError as e:
                    log.warning("trainer.outage", reason=str(e))
                    pause(self._clock)
            log.info("trainer.stopped", reason=self._stop.reason)
        finally:
            self._out.children.close()

    def step(self) -> bool:
        """Wait for a message and deal with it; return whether there was one."""
        received = self._out.queue.receive(
            limit=1, wait_seconds=self._settings.wait_seconds, visibility_seconds=self._settings.lease_seconds
        )
        for message in received:
            crashpoint("K17")
            self.handle(message)
        return bool(received)

    def nothing_left(self) -> bool:
        """Tell whether queue and database agree that there is no work, taken or not: an empty queue proves nothing."""
        return self._out.queue.depth().total == 0 and self._out.runs.open_requests() == 0

    def handle(self, message: Received) -> None:
        """Settle one message."""
        if self._stop.reason:
            self._out.queue.extend(message.receipt, 0)
            return
        request_id = _request_of(message)
        if request_id is None:
            return
        crashpoint("K18")
        settings = self._settings
        claim = self._out.runs.claim(
            request_id, worker=settings.worker, instance_id=settings.instance_id, lease_seconds=settings.lease_seconds
        )
        crashpoint("K19")
        if claim.job is not None:
            with logs.bound(request_id=request_id, run_id=claim.job.lease.run_id, model=claim.job.model):
                self._serve(claim.job, message.receipt)
        elif claim.outcome == "held":
            log.info("request.held", request_id=request_id, seconds_left=claim.seconds_left)
            self._out.queue.extend(message.receipt, math.ceil(claim.seconds_left) + 1)
        elif claim.outcome == "settled":
            log.info("request.settled", request_id=request_id, state=claim.state)
            self._out.queue.delete(message.receipt)
        else:
            log.warning("request.unknown", request_id=request_id)  # left: perhaps another environment's

    # --- one claimed request ---

    def _serve(self, job: Job, receipt: str) -> None:
        """Run the job and settle it, whatever happens."""
        log.info("run.started", attempt=job.attempt, upto_seq=job.upto_seq)
        out, seconds = self._out, self._settings.lease_seconds
        keeper = LeaseKeeper(out.runs, out.queue, job.lease, receipt, lease_seconds=seconds, clock=self._clock)
        with keeper:
            try:
                self._settle(job, Run(out, self._settings, self._stop, job, keeper))
            except (LeaseLostError, RunFailedError) as e:
                # Not ours any more, or its end could not be recorded: the lease runs out, and the message comes again.
                log.warning("run.abandoned", reason=str(e))
                return
        try:
            out.queue.delete(receipt)
        except TransientError as e:
            log.warning("message.not_deleted", reason=str(e))  # it comes again and finds the request settled
        crashpoint("K29")

    def _settle(self, job: Job, run: Run) -> None:
        """Execute the run; record its end.

        Raises:
            LeaseLostError: the request is somebody else's now.
            RunFailedError: the database did not take the record of its end.
        """
        runs, lease = self._out.runs, job.lease
        try:
            published = run.execute()
            log.info("version.published", version=published.version, promoted=published.promoted, why=published.words)
        except LeaseLostError:
            raise
        except CancelledError:
            log.info("run.cancelled")
            run.insist(lambda: runs.cancel(lease))
        except BlockedError as e:
            why = str(e)
            log.info("run.blocked", reason=why)
            run.insist(lambda: runs.block(lease, reason=why))
        except StoppedError as e:
            reason = str(e)
            log.info("run.released", reason=reason)
            run.insist(lambda: runs.release(lease, reason=reason))
        except RunFailedError as e:
            self._record_failure(job, run, e)
        except Exception as e:  # noqa: BLE001 - one request must never end the loop for all others
            log.error("run.crashed", error=e)  # noqa: TRY400 - the logger takes the exception as a field
            self._record_failure(job, run, RunFailedError("crash", f"{type(e).__name__}: {e}"))

    def _record_failure(self, job: Job, run: Run, failure: RunFailedError) -> None:
        again = worth_retrying(failure.error_class, job.attempt)
        log.warning("run.failed", error_class=failure.error_class, reason=failure.message, again=again)
        record = self._out.runs.retry if again else self._out.runs.fail
        run.insist(lambda: record(job.lease, error_class=failure.error_class, error=failure.message))

    def _end_instance(self) -> None:
        """Give the machine back; the process ends in any case."""
        instance_id = self._settings.instance_id
        log.info("trainer.idle", instance=instance_id)
        crashpoint("K31")
        if instance_id is None:
            return
        for _ in range(_END_ATTEMPTS):
            try:
                self._out.fleet.terminate([instance_id])
            except TransientError as e:
                log.warning("instance.not_ended", instance=instance_id, reason=str(e))
                pause(self._clock)
            else:
                return


def _request_of(message: Received) -> str | None:
    """Return the id of the request that the message points to, or None when it cannot be read."""
    try:
        pointer = decode(message.type, message.body)
        if isinstance(pointer, TrainingRequest):
            return str(uuid.UUID(pointer.request_id))
        reason = f"a message of type {message.type} is not for a trainer"
    except (MessageError, ValueError) as e:
        reason = str(e)
    log.warning("message.unreadable", message_id=message.message_id, reason=reason)
    return None
