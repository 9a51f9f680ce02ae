"""Answering predictions: find the model, check the rows, predict, log, and only then answer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import msgpack

from trainyard import logs
from trainyard.errors import Problem, ServiceError
from trainyard.frozen import dataclass
from trainyard_predictor import domain
from trainyard_predictor.columns import clean_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.clock import Clock
    from trainyard.model import Prediction, Predictor
    from trainyard.schema import Schema

_BY_COLUMNS_FROM = 8
_log = logs.get(__name__)


@dataclass(frozen=True)
class Served:
    """A version that is ready to answer. ``features`` are the columns a row may carry, and no others."""

    model: str
    version: int
    sha256: str
    size: int
    predictor: Predictor
    features: Schema


class Models(Protocol):
    """Where models come from."""

    def get(self, target: domain.Target) -> Served:
        """Return the version to ask; raises ServiceError when there is none."""
        ...


class PredictionLog(Protocol):
    """Where predictions are written down before they are answered."""

    def append(self, packed: Sequence[bytes]) -> None:
        """Keep records (msgpack) so that they outlive this process; raises OSError when it cannot."""
        ...


@dataclass(frozen=True)
class Answer:
    """What one request is answered: ``rows`` in the caller's order, each with the id under which it was logged."""

    model: str
    version: int
    rows: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md."""
        return {"model": self.model, "version": self.version, "rows": self.rows}


class Predict:
    """The one use case. ``not_logged`` is told how many predictions went out without a record."""

    def __init__(
        self, models: Models, log: PredictionLog, clock: Clock, *, not_logged: Callable[[int], None] = lambda _: None
    ) -> None:
        self._models = models
        self._prediction_log = log
        self._clock = clock
        self._not_logged = not_logged

    def __call__(self, query: domain.Query) -> Answer:
        """Answer every row by one version, and log every row before returning.

        A log that cannot be written does not stop predictions: the rows then say ``"logged": false``.

        Raises:
            ServiceError: no such model, alias or version, rows that do not fit it, or a version that is to be explained
                and cannot, or not in so many rows; nothing was logged.
        """
        began = self._clock.monotonic()
        served = self._models.get(query.target)
        columns = _columns(served.features, query.rows)
        if query.explain:
            domain.check_explained(len(query.rows), served.predictor.explaining_seconds)
        predictions = served.predictor.predict_clean(columns, len(query.rows))
        ids = self._ids(query)
        latency_us = round((self._clock.monotonic() - began) * 1e6)
        explanations = _explanations(served, columns, predictions) if query.explain else None
        records = domain.records(
            query, served.version, ids, predictions, latency_us=latency_us, predicted_at=self._clock.now()
        )
        logged = self._append(_packed(records))
        rows = [
            {**domain.output(prediction), "prediction_id": ident}
            for prediction, ident in zip(predictions, ids, strict=True)
        ]
        if explanations is not None:
            rows = [{**row, "explanation": own} for row, own in zip(rows, explanations, strict=True)]
        if not logged:
            rows = [{**row, "logged": False} for row in rows]
        return Answer(served.model, served.version, rows)

    def _ids(self, query: domain.Query) -> list[str]:
        if query.idempotency_key is not None:
            return domain.repeatable_ids(query.key_id, query.idempotency_key, len(query.rows))
        random = os.urandom(16 * len(query.rows)).hex()
        return [f"pr_{random[begin : begin + 32]}" for begin in range(0, len(random), 32)]

    def _append(self, packed: list[bytes]) -> bool:
        try:
            self._prediction_log.append(packed)
        except OSError as e:
            _log.error("prediction.not_logged", error=e, rows=len(packed))
            self._not_logged(len(packed))
            return False
        return True


def _columns(features: Schema, rows: list[Any]) -> dict[str, list[Any]]:
    # by columns pays from a few rows on; a single row is checked faster value by value
    columns = clean_columns(features, rows) if len(rows) >= _BY_COLUMNS_FROM else None
    return _checked(features, rows) if columns is None else columns


def _explanations(
    served: Served, columns: dict[str, list[Any]], predictions: Sequence[Prediction]
) -> list[dict[str, Any]]:
    predicted = [prediction.prediction for prediction in predictions]
    found = served.predictor.explain_columns(columns, predicted)
    return [found.row(index, one) for index, one in enumerate(predicted)]


def _checked(features: Schema, rows: list[Any]) -> dict[str, list[Any]]:
    """Return clean columns; raises ``invalid_rows`` with every problem of every row."""
    clean, problems = features.check_rows(rows)
    if problems:
        said = f"{len(problems)} problem{'s' * (len(problems) > 1)} in {len(rows)} row{'s' * (len(rows) > 1)}"
        raise ServiceError("invalid_rows", f"{said}; the details list them", problems)
    good = [row for row in clean if row is not None]
    return {name: [row[name] for row in good] for name in features.names}


def _packed(records: list[dict[str, Any]]) -> list[bytes]:
    """Pack each record; a row that no queue message could carry is refused, because it could never be logged."""
    packed: list[bytes] = [msgpack.packb(record, use_bin_type=True) for record in records]
    problems = [
        Problem(number, None, f"a row of at most {domain.MAX_RECORD_BYTES:,} bytes", f"{len(record):,} bytes")
        for number, record in enumerate(packed, start=1)
        if len(record) > domain.MAX_RECORD_BYTES
    ]
    if problems:
        raise ServiceError("too_large", f"{len(problems)} row(s) are too large to be logged", problems)
    return packed
