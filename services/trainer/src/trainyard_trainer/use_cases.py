"""The worker: take a message, claim a request, run it, publish what came of it, take the next.

The database is the truth, a message only a ticket: it lets a worker claim the most urgent request that suits it, be it
another than the one that the message names. What becomes of the message follows from what became of the claim:
settled, or handed back with a fresh message -> delete; held by somebody else -> hide; for other machines -> delete,
a fresh one was posted; unreadable -> give it back in a moment, of another environment -> leave it: the queue moves both
to its dead letters; we lost the request -> leave it, it is not ours. Where there is no message, a worker looks for
another's search to help.
"""

from __future__ import annotations

import collections
import math
import uuid
from importlib.metadata import version as installed
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.contracts.runs import LeaseLostError, Reproduction
from trainyard.crashpoints import crashpoint, step
from trainyard.errors import MessageError, TransientError
from trainyard.messages import TrainingRequest, decode
from trainyard_trainer import workdir
from trainyard_trainer.domain import (
    MOST_LOOKS,
    BlockedError,
    CancelledError,
    RunFailedError,
    StoppedError,
    idle_for_good,
    worth_retrying,
)
from trainyard_trainer.guard import pause
from trainyard_trainer.helping import Helping
from trainyard_trainer.lease import LeaseKeeper
from trainyard_trainer.run import Run
from trainyard_trainer.run_log import RunLog

if TYPE_CHECKING:
    from trainyard.contracts.queue import Received
    from trainyard.contracts.runs import Claim, Job
    from trainyard_trainer.ports import Outside, Stop, TrainerSettings

log = logs.get(__name__)

_END_ATTEMPTS = 3
#: Runs, the newest, in which this worker has found that it can do nothing (more) for their search.
_MOST_DECLINED = 100
#: When an unreadable message is seen again: soon, because nothing but its dead-letter queue can follow.
_UNREADABLE_AGAIN_SECONDS = 5


class Trainer:
    """One worker; call from the main thread, because children end with the thread that started them."""

    def __init__(self, outside: Outside, settings: TrainerSettings, stop: Stop) -> None:
        self._out = outside
        self._settings = settings
        self._stop = stop
        self._clock = outside.clock
        self._declined: collections.deque[str] = collections.deque(maxlen=_MOST_DECLINED)

    # --- the loop ---

    def run(self) -> None:
        """Work until asked to stop, or until there has been nothing to do for ``idle_seconds``."""
        workdir.sweep(self._settings.work_dir)
        idle_since = self._clock.monotonic()
        try:
            while not self._stop.reason:
                try:
                    crashpoint("K30")
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
        """Wait for a message and deal with it; return whether it concerned this worker."""
        received = self._out.queue.receive(
            limit=1, wait_seconds=self._settings.wait_seconds, visibility_seconds=self._settings.lease_seconds
        )
        for message in received:
            crashpoint("K17")
            return self.handle(message)
        return self.help()

    def help(self) -> bool:
        """Take a seat in another worker's search, if one is free, and keep it to its end; return whether there was one.

        Whoever helps is not deaf to requests: one that waits calls it back (:mod:`trainyard.contracts.searches`).
        """
        settings = self._settings
        seat = self._out.searches.join(
            worker=settings.worker,
            instance_id=settings.instance_id,
            instance_type=settings.instance_type,
            release=installed("trainyard"),
            seconds=settings.lease_seconds,
            but=tuple(self._declined),
        )
        if seat is None:
            return False
        self._out.presence.busy(seat.request_id)
        try:
            with logs.bound(request_id=seat.request_id, run_id=seat.run_id, model=seat.model):
                if not Helping(self._out, settings, self._stop, seat).execute():
                    self._declined.append(seat.run_id)
        finally:
            self._out.presence.idle()
        return True

    def nothing_left(self) -> bool:
        """Tell whether queue and database agree that there is no work for this worker, taken or not.

        A request that comes in between is not lost: its row keeps the fleet's desired size at one or more.
        """
        suited = self._out.runs.open_requests(self._settings.instance_type, self._settings.instance_id)
        return idle_for_good(self._out.queue.depth().total, suited, self._out.runs.open_requests())

    def handle(self, message: Received) -> bool:
        """Settle one message; return whether it concerned this worker."""
        if self._stop.reason:
            self._out.queue.extend(message.receipt, 0)
            return False
        request_id = _request_of(message)
        if request_id is None:
            self._out.queue.extend(message.receipt, _UNREADABLE_AGAIN_SECONDS)
            return True
        crashpoint("K18")
        settings = self._settings
        with step("K19"):
            claim = self._out.runs.claim(
                request_id,
                worker=settings.worker,
                instance_id=settings.instance_id,
                instance_type=settings.instance_type,
                lease_seconds=settings.lease_seconds,
            )
        if claim.job is None:
            return self._pass_on(claim, request_id, message)
        lease = claim.job.lease
        with logs.bound(
            request_id=lease.request_id, run_id=lease.run_id, model=claim.job.model, trace=claim.job.trace_id
        ):
            self._serve(claim.job, message.receipt)
        return True

    def _pass_on(self, claim: Claim, request_id: str, message: Received) -> bool:
        """Do with a message what follows from a claim that took nothing; return whether it concerned this worker."""
        if claim.outcome == "held":
            log.info("request.held", request_id=request_id, seconds_left=claim.seconds_left)
            if message.receive_count >= MOST_LOOKS:
                # One more look would make a dead letter of it. Should the holder die, the scheduler sends another.
                self._delete(message.receipt)
            else:
                self._out.queue.extend(message.receipt, math.ceil(claim.seconds_left) + 1)
        elif claim.outcome == "settled":
            log.info("request.settled", request_id=request_id, state=claim.state)
            self._delete(message.receipt)
        elif claim.outcome == "unsuited":
            log.info("request.unsuited", request_id=request_id, instance_type=self._settings.instance_type)
            self._delete(message.receipt)
            return False
        else:
            log.warning("request.unknown", request_id=request_id)  # left: perhaps another environment's
        return True

    # --- one claimed request ---

    def _serve(self, job: Job, receipt: str) -> None:
        """Run the job and settle it, whatever happens."""
        out, settings = self._out, self._settings
        run_log = RunLog(out.runs, job.lease.run_id, self._clock)
        keeper = LeaseKeeper(
            out.runs,
            out.queue,
            job.lease,
            receipt,
            lease_seconds=settings.lease_seconds,
            beat_seconds=settings.beat_seconds,
            clock=self._clock,
            run_log=run_log,
        )
        out.presence.busy(job.lease.request_id)
        try:
            with run_log, keeper:
                log.info("run.started", attempt=job.attempt, upto_seq=job.upto_seq)
                self._settle(job, Run(out, settings, self._stop, job, keeper))
        except LeaseLostError as e:
            # Not ours any more: nothing was published, and the message is whoever holds the request now's.
            log.warning("run.abandoned", code=e.code, reason=str(e))
        except RunFailedError as e:
            # Its end could not be recorded: the lease runs out, and the message comes again.
            log.warning("run.abandoned", code="not_recorded", reason=str(e))
        else:
            self._delete(receipt)
        finally:
            out.presence.idle()

    def _settle(self, job: Job, run: Run) -> None:
        """Execute the run; record its end.

        Raises:
            LeaseLostError: the request is somebody else's now.
            RunFailedError: the database did not take the record of its end.
        """
        runs, lease, settle = self._out.runs, job.lease, run.guard.settle
        try:
            done = run.execute()
            if isinstance(done, Reproduction):
                log.info("version.reproduced", version=done.version, identical=done.identical, why=done.words)
            else:
                log.info("version.published", version=done.version, promoted=done.promoted, why=done.words)
        except LeaseLostError:
            raise
        except CancelledError:
            log.info("run.cancelled")
            settle(lambda: runs.cancel(lease))
        except BlockedError as e:
            why = str(e)
            log.info("run.blocked", reason=why)
            settle(lambda: runs.block(lease, reason=why))
        except StoppedError as e:
            reason = str(e)
            log.info("run.released", reason=reason)
            settle(lambda: runs.release(lease, reason=reason))
        except RunFailedError as e:
            self._record_failure(job, run, e)
        except TransientError as e:
            self._record_failure(job, run, RunFailedError("transient", str(e)))
        except Exception as e:  # noqa: BLE001 - one request must never end the loop for all others
            log.error("run.crashed", error=e)  # noqa: TRY400 - the logger takes the exception as a field
            self._record_failure(job, run, RunFailedError("crash", f"{type(e).__name__}: {e}"))

    def _record_failure(self, job: Job, run: Run, failure: RunFailedError) -> None:
        again = worth_retrying(failure.error_class, job.attempt)
        log.warning("run.failed", error_class=failure.error_class, reason=failure.message, again=again)
        record = self._out.runs.retry if again else self._out.runs.fail
        run.guard.settle(lambda: record(job.lease, error_class=failure.error_class, error=failure.message))

    def _delete(self, receipt: str) -> None:
        """Delete a message whose request is settled; one that stays comes again and is deleted then."""
        try:
            with step("K29"):
                self._out.queue.delete(receipt)
        except TransientError as e:
            log.warning("message.not_deleted", reason=str(e))

    def _end_instance(self) -> None:
        """Give the machine back; the process ends in any case."""
        instance_id = self._settings.instance_id
        log.info("trainer.idle", instance_id=instance_id)
        if instance_id is None:
            return
        for _ in range(_END_ATTEMPTS):
            try:
                with step("K31"):
                    self._out.fleet.terminate([instance_id])
            except TransientError as e:
                log.warning("instance.not_ended", instance_id=instance_id, reason=str(e))
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
