"""What every protocol does with rows: have them predicted, logged and counted."""

from __future__ import annotations

from trainyard.crashpoints import crashpoint
from trainyard_predictor import domain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from trainyard.telemetry.numbers import Metrics
    from trainyard_predictor.protocols.routes import Call
    from trainyard_predictor.use_cases import Answer, Predict


class Ask:
    """The use case as the protocols call it: who asks, and under which ids, is in the call."""

    def __init__(self, predict: Predict, metrics: Metrics) -> None:
        self._predict = predict
        self._metrics = metrics

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
        key = domain.check_idempotency_key(call.request.headers.get("idempotency-key", repeat))
        domain.check_count(len(rows), explain=explain)
        sticky = domain.check_sticky(call.request.headers.get("x-trainyard-sticky"))
        answer = self._predict(domain.Query(target, rows, call.key_id, call.trace_id, key, explain, sticky))
        crashpoint("K40")
        self._metrics.count("trainyard_predictions_total", len(rows), model=answer.model, version=str(answer.version))
        return answer
