"""Answers compared with those of another version, after they were given and at nobody's cost.

A request only puts its answer into a queue of bounded size; when that is full the answer is not compared, and counted.
A thread takes from it, lets the shadow version answer the same rows, and sends what differs to the queue of the
prediction log. Nothing is spooled: a comparison that is lost is one less of many.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.errors import ServiceError, TransientError
from trainyard.messages import ShadowScored
from trainyard.model.inference import class_name
from trainyard_predictor.use_cases import checked_columns

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.contracts.queue import Queue
    from trainyard.model import Prediction
    from trainyard_predictor.domain import Query
    from trainyard_predictor.use_cases import Answer, Served

#: Answers that wait to be compared: at most so many bytes of their records, and rows.
MOST_BYTES = 16 * 1024 * 1024
MOST_ROWS = 4_000
#: Comparisons of one message: some 100 bytes each.
MESSAGE_ROWS = 500
_log = logs.get(__name__)


@dataclass(frozen=True)
class _Waiting:
    served: Served
    query: Query
    answer: Answer
    size: int


class ShadowScorer:
    """``offer`` may be called by any thread, ``step`` by one. ``counts``: rows ``scored``, ``dropped``, ``failed``."""

    def __init__(self, queue: Queue, clock: Clock, *, most_bytes: int = MOST_BYTES, most_rows: int = MOST_ROWS) -> None:
        self._queue = queue
        self._clock = clock
        self._most_bytes = most_bytes
        self._most_rows = most_rows
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._bytes = self._rows = 0
        self.counts: Counter[str] = Counter()

    def offer(self, served: Served, query: Query, answer: Answer, size: int) -> None:
        """Take note of an answer to be compared with that of ``served``; when there is no room it is dropped."""
        rows = len(answer.rows)
        with self._lock:
            if self._bytes + size > self._most_bytes or self._rows + rows > self._most_rows:
                self.counts["dropped"] += rows
                return
            self._waiting.append(_Waiting(served, query, answer, size))
            self._bytes += size
            self._rows += rows

    def step(self) -> int:
        """Compare what waits now, and send it; return how many rows were compared."""
        found: list[dict[str, Any]] = []
        for _ in range(len(self._waiting)):
            found += self._compare(self._take())
        for begin in range(0, len(found), MESSAGE_ROWS):
            self._send(found[begin : begin + MESSAGE_ROWS])
        return len(found)

    def _take(self) -> _Waiting:
        with self._lock:
            one = self._waiting.popleft()
            self._bytes -= one.size
            self._rows -= len(one.answer.rows)
        return one

    def _compare(self, one: _Waiting) -> list[dict[str, Any]]:
        rows = one.query.rows
        try:
            predicted = one.served.predictor.predict_clean(checked_columns(one.served.features, rows), len(rows))
        except ServiceError as e:  # rows that the shadow version does not take
            _log.warning("shadow.declined", model=one.served.model, version=one.served.version, reason=str(e))
            self.counts["failed"] += len(rows)
            return []
        at = self._clock.now().isoformat(timespec="microseconds")
        common = {"model": one.answer.model, "version": one.answer.version, "shadow_version": one.served.version}
        found = [
            {"id": given["prediction_id"], **common, "scored_at": at, **compared(given, own)}
            for given, own in zip(one.answer.rows, predicted, strict=True)
        ]
        finite = [record for record in found if math.isfinite(record["difference"])]
        self.counts["failed"] += len(found) - len(finite)
        return finite

    def _send(self, records: list[dict[str, Any]]) -> None:
        reason = "the queue refused it"
        try:
            sent = not self._queue.send([ShadowScored(records).outgoing()])
        except TransientError as e:
            sent, reason = False, str(e)
        self.counts["scored" if sent else "dropped"] += len(records)
        if not sent:
            _log.warning("shadow.not_sent", rows=len(records), reason=reason)


def compared(given: dict[str, Any], own: Prediction) -> dict[str, Any]:
    """Return how the shadow's answer to a row differs from the one that was given.

    ``difference`` is the shadow's less the given one: of the predicted value in regression, else of the probability of
    the class that was answered. ``changed``: the shadow would have answered another class; in regression never.
    """
    was = given["prediction"]
    if own.probabilities is None or "probabilities" not in given:
        return {"difference": float(own.prediction) - float(was), "changed": False}
    name = class_name(was)  # a version that does not know the class gives it no probability
    difference = own.probabilities.get(name, 0.0) - given["probabilities"].get(name, 0.0)
    return {"difference": difference, "changed": own.prediction != was}
