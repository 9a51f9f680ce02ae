"""A prediction log in memory."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trainyard.contracts.prediction_log import Added, Feedback, LoggedPrediction, PredictionLog
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.prediction_log import Label, Prediction, ShadowScore
    from trainyard.schema import Schema


class MemoryPredictionLog(PredictionLog):
    """``models`` maps each live model to its dataset's schema; ``givers`` has key and trace id of each feedback.

    What was predicted before ``since`` is not taken. ``outage`` is raised by every call while it is set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str, str], tuple[str, Feedback]] = {}
        self.predictions: list[Prediction] = []
        self.labels: list[Label] = []
        self.shadows: dict[tuple[str, int], ShadowScore] = {}
        self.givers: list[tuple[str | None, str | None]] = []
        self.models: dict[str, Schema] = {}
        self.since = datetime.min.replace(tzinfo=UTC)
        self.outage: Exception | None = None

    def add(self, predictions: Sequence[Prediction]) -> Added:
        """Store what is new."""
        self._answer()
        with self._lock:
            before, expired = len(self.predictions), 0
            known = {prediction.id for prediction in self.predictions}
            for prediction in predictions:
                if prediction.id in known:
                    continue
                if prediction.predicted_at < self.since:
                    expired += 1
                    continue
                known.add(prediction.id)
                self.predictions.append(prediction)
            return Added(len(self.predictions) - before, expired)

    def add_shadows(self, scores: Sequence[ShadowScore]) -> int:
        """Store what is new."""
        self._answer()
        with self._lock:
            before = len(self.shadows)
            for one in scores:
                self.shadows.setdefault((one.prediction_id, one.shadow_version), one)
            return len(self.shadows) - before

    def give(
        self, labels: Sequence[Label], *, key_id: str | None, trace_id: str | None, once: Repeatable | None
    ) -> Feedback:
        """Store all labels."""
        self._answer()
        with self._lock:
            if once is not None:
                earlier = self._answers.get((once.route, once.key_id, once.key))
                if earlier is not None and earlier[0] != once.body_sha256:
                    raise ServiceError("key_reused", "this Idempotency-Key was used before with another body")
                if earlier is not None:
                    return earlier[1]
            known = {p.id for p in self.predictions}
            parked = sum(1 for label in labels if label.prediction_id is not None and label.prediction_id not in known)
            self.labels += labels
            self.givers.append((key_id, trace_id))
            answer = Feedback(len(labels), parked)
            if once is not None:
                self._answers[once.route, once.key_id, once.key] = (once.body_sha256, answer)
            return answer

    def page(
        self, *, model: str | None, version: int | None, limit: int, after: int = 0, newest: bool = False
    ) -> list[LoggedPrediction]:
        """Return predictions in log order, or from its end; the first place is 1."""
        self._answer()
        found = [
            self._logged(seq, prediction)
            for seq, prediction in enumerate(self.predictions, start=1)
            if (not after or (seq < after if newest else seq > after))
            and model in {None, prediction.model}
            and version in {None, prediction.version}
        ]
        return (found[::-1] if newest else found)[:limit]

    def find(self, prediction_id: str) -> LoggedPrediction | None:
        """Return one prediction, or None."""
        self._answer()
        for seq, prediction in enumerate(self.predictions, start=1):
            if prediction.id == prediction_id:
                return self._logged(seq, prediction)
        return None

    def shadows_of(self, prediction_id: str) -> list[ShadowScore]:
        """Return the comparisons of one prediction."""
        self._answer()
        with self._lock:
            return [one for (ident, _), one in sorted(self.shadows.items()) if ident == prediction_id]

    def schemas(self, models: Sequence[str]) -> dict[str, Schema]:
        """Return the schemas of live models."""
        self._answer()
        return {name: self.models[name] for name in models if name in self.models}

    def knows(self, model: str) -> bool:
        """Tell whether the model is in :attr:`models`."""
        self._answer()
        return model in self.models

    def _logged(self, seq: int, prediction: Prediction) -> LoggedPrediction:
        labels = [label.label for label in self.labels if label.prediction_id == prediction.id]
        return LoggedPrediction(seq, prediction, labels[-1] if labels else None)

    def _answer(self) -> None:
        if self.outage is not None:
            raise self.outage
