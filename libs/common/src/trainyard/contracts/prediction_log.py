"""The log of what was predicted and what really happened. Postgres is the implementation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trainyard.contracts.idempotency import Repeatable
    from trainyard.schema import Schema


@dataclass(frozen=True)
class Prediction:
    """One answered row. ``inputs`` by column name; ``output`` holds ``prediction`` and maybe ``probabilities``."""

    id: str
    model: str
    version: int
    key_id: str | None
    trace_id: str | None
    inputs: dict[str, Any]
    output: dict[str, Any]
    latency_us: int | None
    predicted_at: datetime


@dataclass(frozen=True)
class ShadowScore:
    """What version ``shadow_version`` would have answered to a prediction, held against what ``version`` did.

    ``difference`` is the shadow's less the answered: of the predicted value, or of the probability of the class that
    was answered. ``changed``: the shadow would have answered another class.
    """

    prediction_id: str
    model: str
    version: int
    shadow_version: int
    difference: float
    changed: bool
    scored_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md, which stands with its prediction."""
        return {
            "shadow_version": self.shadow_version,
            "difference": self.difference,
            "changed": self.changed,
            "scored_at": self.scored_at.isoformat(),
        }


@dataclass(frozen=True)
class Added:
    """How many predictions are new in the log, and how many were made so long ago that they are not logged any more.

    What is neither was in the log already.
    """

    new: int
    expired: int = 0


@dataclass(frozen=True)
class LoggedPrediction:
    """A prediction as the log gives it back: its place ``seq``, and the latest label that was given (None: none)."""

    seq: int
    prediction: Prediction
    label: bool | int | float | str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md."""
        row = self.prediction
        return {
            "id": row.id,
            "model": row.model,
            "version": row.version,
            "predicted_at": row.predicted_at.isoformat(),
            "inputs": row.inputs,
            "output": row.output,
            "label": self.label,
        }


@dataclass(frozen=True)
class Label:
    """A true label: of the prediction ``prediction_id``, or of the row of ``model``'s dataset with the ``key``."""

    label: bool | int | float | str
    prediction_id: str | None = None
    model: str | None = None
    key: dict[str, Any] | None = None


@dataclass(frozen=True)
class Feedback:
    """How many labels were taken, and how many of them wait for a prediction that is not (yet) in the log."""

    accepted: int
    parked: int


class PredictionLog(Protocol):
    """Every method raises :class:`~trainyard.errors.TransientError` when the database does not answer."""

    def add(self, predictions: Sequence[Prediction]) -> Added:
        """Store the predictions whose ids are not in the log yet.

        One that was predicted before the months that the log still has is not stored: it may have been there before.
        One from ahead of the database's clock is: the log goes by when it was logged.
        """
        ...

    def add_shadows(self, scores: Sequence[ShadowScore]) -> int:
        """Store what is new, one for each prediction and shadow; return how many were."""
        ...

    def give(
        self, labels: Sequence[Label], *, key_id: str | None, trace_id: str | None, once: Repeatable | None
    ) -> Feedback:
        """Store all labels, or none; with ``once`` a repetition stores nothing and gets the first answer.

        Raises:
            ServiceError: ``key_reused``: ``once`` was used before with another body.
        """
        ...

    def page(
        self, *, model: str | None, version: int | None, limit: int, after: int = 0, newest: bool = False
    ) -> list[LoggedPrediction]:
        """Return predictions in log order, those behind the place ``after``.

        With ``newest`` in the opposite order: from the end of the log, or from before the place ``after``.
        """
        ...

    def find(self, prediction_id: str) -> LoggedPrediction | None:
        """Return one prediction, or None."""
        ...

    def shadows_of(self, prediction_id: str) -> list[ShadowScore]:
        """Return the comparisons of one prediction, by shadow version."""
        ...

    def schemas(self, models: Sequence[str]) -> dict[str, Schema]:
        """Return the schema of the dataset of each live model among ``models``."""
        ...

    def knows(self, model: str) -> bool:
        """Tell whether there is, or was, a model of that name."""
        ...
