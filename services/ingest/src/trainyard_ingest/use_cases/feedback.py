"""True labels, over HTTP or as an event, into the prediction log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.crashpoints import step
from trainyard.errors import Problem, ServiceError
from trainyard_ingest.domain.labels import models_named, read_labels

if TYPE_CHECKING:
    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.prediction_log import Feedback, PredictionLog


class TakeFeedback:
    """Checks labels and stores them, all or none."""

    def __init__(self, log: PredictionLog) -> None:
        self._log = log

    def take(self, items: Any, *, key_id: str | None, trace_id: str | None, once: Repeatable | None) -> Feedback:
        """Store the labels of ``items`` (docs/api.md, POST /v1/feedback).

        Raises:
            ServiceError: ``unknown_model``; ``invalid_rows`` with every problem of every item (``row`` counts items
                from 1); ``bad_request`` or ``too_large`` for the list as a whole; ``key_reused``.
        """
        named = models_named(items)
        schemas = self._log.schemas(sorted(named)) if named else {}
        unknown = {name: row for name, row in named.items() if name not in schemas}
        if unknown:
            problems = [Problem(row, "model", "a model that exists", name) for name, row in unknown.items()]
            raise ServiceError("unknown_model", f"there is no model '{next(iter(unknown))}'", problems[:100])
        labels = read_labels(items, schemas)
        with step("K41"):
            return self._log.give(labels, key_id=key_id, trace_id=trace_id, once=once)
