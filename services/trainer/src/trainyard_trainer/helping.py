"""Helping another worker's search: from a seat in it to its end.

The helper reads the rows that the leader reads and tries candidates of its study. It chooses, publishes and records
nothing: what it has told the study is all that it leaves.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.contracts.studies import study_name
from trainyard.errors import ServiceError, TransientError
from trainyard.policy import Policy
from trainyard_trainer import workdir
from trainyard_trainer.asking import Asking
from trainyard_trainer.domain import EXIT_DONE, end_in_words
from trainyard_trainer.seat import SeatKeeper

if TYPE_CHECKING:
    from pathlib import Path

    from trainyard.contracts.searches import Seat
    from trainyard.snapshot import Snapshot
    from trainyard_trainer.ports import Outside, Stop, TrainerSettings

log = logs.get(__name__)

_LOOK_SECONDS = 0.1


class _LeftError(Exception):
    """The seat is to be left; the message says why. ``again``: this worker may come back to the same run."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


class Helping:
    """One sitting in one search."""

    def __init__(self, outside: Outside, settings: TrainerSettings, stop: Stop, seat: Seat) -> None:
        self._out = outside
        self._settings = settings
        self._stop = stop
        self._seat = seat
        self._keeper = SeatKeeper(outside.searches, seat.id, settings, outside.clock)
        self._told = 0

    def execute(self) -> bool:
        """Help until there is nothing left to do; return whether this worker may take another seat in the same run.

        Raises:
            TransientError: something outside does not answer; the seat is left.
        """
        log.info("seat.taken", seconds_left=round(self._seat.invitation.seconds, 1))
        try:
            with self._keeper, workdir.fresh(self._settings.work_dir) as directory:
                self._work(directory, self._prepare(directory))
        except _LeftError as e:
            log.info("seat.left", reason=str(e), trials=self._told)
            return e.again
        except TransientError:
            raise
        except Exception as e:  # noqa: BLE001 - another's search must never end the loop for all requests
            log.error("seat.crashed", error=e)  # noqa: TRY400 - the logger takes the exception as a field
        return False

    def _check(self) -> None:
        if self._stop.reason:
            raise _LeftError(self._stop.reason, again=False)
        if self._keeper.over:
            raise _LeftError(self._keeper.over, again=True)

    def _prepare(self, directory: Path) -> Policy:
        """Fill the directory as the leader did its own; return the policy."""
        seat = self._seat
        try:
            policy = Policy.from_dict(seat.settings)
            snapshot = self._out.snapshots.read(seat.dataset_id, seat.upto_seq, progress=lambda _: self._check())
        except ServiceError as e:
            raise _LeftError(e.message, again=False) from e
        self._compare(snapshot)
        workdir.write_json(directory, workdir.SCREENING, seat.invitation.screening)
        workdir.write_job(
            directory,
            snapshot,
            model=seat.model,
            dataset=seat.dataset,
            label=seat.label,
            settings=seat.settings,
            task=seat.task,
            known_seq=seat.known_seq,
            helps_for_seconds=seat.invitation.seconds,
        )
        return policy

    def _compare(self, snapshot: Snapshot) -> None:
        """Refuse to measure on other rows than the leader does: some were erased since it read them."""
        if snapshot.sha256 != self._seat.invitation.snapshot:
            raise _LeftError("its rows are others by now", again=False)

    def _work(self, directory: Path, policy: Policy) -> None:
        """Let a child try candidates, and end it when the seat is to be left."""
        seat = self._seat
        name = study_name(seat.request_id, seat.known_seq, seat.invitation.release)
        join = partial(self._out.studies.help, name, seed=policy.seed, metric=policy.metric, seat=seat.id)
        worker, keeper = self._settings.worker, self._keeper
        asking = Asking(join, lambda: keeper.over, self._out.clock, worker=worker, helped=True)
        child = self._out.children.take()
        with asking:
            try:
                child.begin(directory, asking.hear)
                while (code := child.wait(_LOOK_SECONDS)) is None:
                    self._check()
                    self._told += len(child.trials())
                    if asking.failure is not None:
                        raise _LeftError(f"its study failed: {asking.failure}", again=False) from asking.failure
            finally:
                child.kill()
                self._told += len(child.trials())
        done = "there is nothing left to try"
        raise _LeftError(done if code == EXIT_DONE else end_in_words(code, child.last_words()), again=False)
