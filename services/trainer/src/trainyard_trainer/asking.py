"""What the training process asks of its study: a thread that answers it from the database, which it cannot reach.

The process says on standard output what it plans, asks for, skips and has finished, and reads the answers to what it
asked on standard input (:mod:`trainyard_trainer.child`). The thread that reads the output only passes it on, and the
one that watches the process never waits for a database that hangs.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.contracts.runs import LeaseLostError
from trainyard.contracts.studies import Planned, StudyGoneError, space_from_json
from trainyard.errors import TransientError
from trainyard_trainer.domain import trial_of
from trainyard_trainer.guard import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from trainyard.clock import Clock
    from trainyard.contracts.runs import Trial
    from trainyard.contracts.studies import Study
    from trainyard_trainer.ports import Answer
    from trainyard_trainer.sharing import Sharing

log = logs.get(__name__)

#: How long what was said before the end may take to be recorded; what is not is tried again by the next run.
_END_SECONDS = 5.0


class Asking:
    """Answers while it is entered, in the order in which it hears.

    ``join`` opens the study, at the first word that concerns it. Once the lease is ``lost`` the study is another
    holder's, and nothing is done to it; the same where a seat is. A failure that is not an outage stays in ``failure``:
    there will be no answer any more. ``worker`` and ``helped`` are noted in every trial. ``sharing``: for a search that
    others may join, None for any other.
    """

    def __init__(
        self,
        join: Callable[[], Study],
        lost: Callable[[], str],
        clock: Clock,
        *,
        worker: str,
        helped: bool = False,
        sharing: Sharing | None = None,
    ) -> None:
        self._join = join
        self._lost = lost
        self._study: Study | None = None
        self._clock = clock
        self._worker = worker
        self._helped = helped
        self._sharing = sharing
        self._heard: queue.SimpleQueue[tuple[Mapping[str, Any], Answer] | None] = queue.SimpleQueue()
        self._asked: set[int] = set()
        self._over = False
        self._thread = threading.Thread(target=self._answer_on, name="study", daemon=True)
        self.failure: Exception | None = None

    def __enter__(self) -> Asking:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Record what was said last, unless the database is away, and stop."""
        self._over = True
        self._heard.put(None)
        self._thread.join(_END_SECONDS)

    def hear(self, said: Mapping[str, Any], answer: Answer) -> None:
        """Take what the process says: ``plan``, ``ask``, ``news``, ``skip``, ``trial`` or ``searched``.

        Any thread may call it.
        """
        self._heard.put((said, answer))

    def _answer_on(self) -> None:
        while self.failure is None and (heard := self._heard.get()) is not None and not self._lost():
            try:
                self._insist(*heard)
            except (StudyGoneError, LeaseLostError) as e:
                log.info("study.gone", reason=str(e))  # the lease is somebody else's, or the request is cancelled
                return
            except Exception as e:  # noqa: BLE001 - the run looks at it, and fails
                self.failure = e

    def _insist(self, said: Mapping[str, Any], answer: Answer) -> None:
        """Serve one wish; while the database is away ask again, until the run is over."""
        while True:
            try:
                return self._serve(said, answer)
            except TransientError as e:
                log.warning("study.outage", reason=str(e))
                if self._over:
                    return None
            pause(self._clock)

    def _serve(self, said: Mapping[str, Any], answer: Answer) -> None:
        if "trial" in said:
            self._tell(said["trial"])
            return
        if "searched" in said:
            if self._sharing is not None:
                self._sharing.over()
            return
        self._study = self._study or self._join()
        if "plan" in said:
            self._study.plan([Planned(**one) for one in said["plan"]], space_from_json(said["space"]))
        elif "skip" in said:
            self._study.skip(said["skip"])
        elif "news" in said:
            answer({"trials": [asdict(trial) for trial in self._news(self._study)]})
        elif not self._over:
            if self._sharing is not None:
                self._sharing.invite()
            proposal = self._study.ask()
            self._asked.add(proposal.number)
            answer({"number": proposal.number, "kind": proposal.kind, "params": proposal.params})

    def _tell(self, said: Mapping[str, Any]) -> None:
        """Record a finished trial; one that nobody has asked for is none of the study's."""
        trial = trial_of(said)
        if trial is not None and self._study is not None and trial.number in self._asked:
            self._study.tell(replace(trial, worker=self._worker, helped=self._helped))
            if self._sharing is not None:
                self._sharing.told(trial.number)

    def _news(self, study: Study) -> Sequence[Trial]:
        """Return what others have told: to who helps all that there is, and to who leads what helpers have."""
        if self._sharing is not None:
            return self._sharing.news(study)
        return study.news() if self._helped else ()
