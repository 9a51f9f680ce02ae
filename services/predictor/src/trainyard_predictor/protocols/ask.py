"""What every protocol does with rows: have them predicted, logged and counted."""

from __future__ import annotations

from trainyard.crashpoints import crashpoint
from trainyard_predictor import domain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from trainyard.telemetry.numbers import Metrics
    from trainyard_predictor.exchange import Request
    from trainyard_predictor.protocols.routes import Call
    from trainyard_predictor.use_cases import Answer, Predict

#: Versions whose counters are kept at hand.
_MOST_COUNTERS = 1_000


class Ask:
    """The use case as the protocols call it: who asks, and under which ids, is in the call."""

    def __init__(self, predict: Predict, metrics: Metrics) -> None:
        self._predict = predict
        self._metrics = metrics
        self._counters: dict[tuple[str, int], Callable[[int], None]] = {}

    def __call__(
        self,
        call: Call,
        target: domain.Target,
        rows: Sequence[Any],
        *,
        explain: bool = False,
        repeat: str | None = None,
    ) -> Answer:
        """Return the answer to unchecked rows, in their order.

        Args:
            call: the request that brought them; its ``Idempotency-Key`` makes the prediction ids repeatable.
            target: model, and alias or version.
            rows: values as JSON has them, by column name.
            explain: whether each row is to be explained.
            repeat: what stands for an ``Idempotency-Key`` where the protocol has another word for it.

        Raises:
            ServiceError: as :meth:`Predict.__call__` and the checks of :mod:`trainyard_predictor.domain`.
        """
        key, sticky = _words(call.request)
        if key is None and repeat is not None:
            key = domain.check_idempotency_key(repeat)
        domain.check_count(len(rows), explain=explain)
        answer = self._predict(domain.Query(target, rows, call.key_id, call.trace_id, key, explain, sticky))
        crashpoint("K40")
        count = self._counters.get((answer.model, answer.version)) or self._counter(answer)
        count(len(rows))
        return answer

    def _counter(self, answer: Answer) -> Callable[[int], None]:
        """Return what counts predictions of the version that has answered."""
        if len(self._counters) >= _MOST_COUNTERS:
            self._counters.clear()
        count = self._metrics.counter("trainyard_predictions_total", model=answer.model, version=str(answer.version))
        self._counters[answer.model, answer.version] = count
        return count


def _words(request: Request) -> tuple[str | None, str | None]:
    """Return a request's ``Idempotency-Key`` and ``x-trainyard-sticky``."""
    seen = request.seen
    if seen is not None and seen.words is not None:
        return seen.words
    key = domain.check_idempotency_key(request.headers.get("idempotency-key"))
    words = key, domain.check_sticky(request.headers.get("x-trainyard-sticky"))
    if seen is not None:
        seen.words = words
    return words
