"""Answering predictions: find the model, check the rows, predict, log, and only then answer."""

from __future__ import annotations

import os

import msgpack

from trainyard import logs
from trainyard.crashpoints import crashpoint, step
from trainyard.errors import Problem, ServiceError, TransientError
from trainyard.frozen import dataclass
from trainyard.model.inference import FEW_ROWS
from trainyard.protocol import Protocol
from trainyard_predictor import domain
from trainyard_predictor.columns import clean_columns, clean_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from trainyard.clock import Clock
    from trainyard.model import Prediction, Predictor
    from trainyard.schema import Schema

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

    def holds(self, target: domain.Target) -> bool:
        """Tell whether :meth:`get` has it in memory."""
        ...

    def beside(self, model: str, alias: str) -> tuple[Served, float] | None:
        """Return what an alias beside the champion points at, with its weight, if it is ready; never waits."""
        ...


class PredictionLog(Protocol):
    """Where predictions are written down before they are answered."""

    def append(self, packed: Sequence[bytes]) -> None:
        """Keep records (msgpack) so that they outlive this process; raises OSError when it cannot."""
        ...


class Shadow(Protocol):
    """Where answers are compared with those of another version, after they were given."""

    def offer(self, served: Served, query: domain.Query, answer: Answer, size: int) -> None:
        """Take note of an answer whose records have ``size`` bytes; neither waits nor raises."""
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


@dataclass(frozen=True)
class _Scored:
    served: Served
    predictions: Sequence[Prediction]
    explanations: list[dict[str, Any]] | None
    latency_us: int
    #: of rows that were as they should be; None where they were few, or had to be looked at value by value
    columns: dict[str, Any] | None = None


@dataclass(frozen=True)
class Rules:
    """What a predictor does when the log or the time fails.

    Attributes:
        seconds: longest that a prediction may take from its checked request; None: any time.
        unlogged: whether a prediction is answered that cannot be logged.
    """

    seconds: float | None = None
    unlogged: bool = True


class Predict:
    """The one use case. ``not_logged`` is told how many predictions got no record, ``declined`` how many of its share
    the challenger left to the champion; ``pack`` makes msgpack of a value.
    """

    def __init__(
        self,
        models: Models,
        log: PredictionLog,
        clock: Clock,
        *,
        not_logged: Callable[[int], None] = lambda _: None,
        declined: Callable[[int], None] = lambda _: None,
        rules: Rules | None = None,
        shadow: Shadow | None = None,
        pack: Callable[[Any], bytes] = msgpack.packb,
    ) -> None:
        self._models = models
        self._prediction_log = log
        self._clock = clock
        self._not_logged = not_logged
        self._declined = declined
        self._rules = rules or Rules()
        self._shadow = shadow
        self._pack = pack

    def __call__(self, query: domain.Query) -> Answer:
        """Answer every row by one version, and log every row before returning.

        Where the request asks for the champion, the challenger answers its share. A log that cannot be written does
        not stop predictions unless the rules say so: the rows then carry ``"logged": false``.

        Raises:
            ServiceError: no such model, alias or version, rows that do not fit it, a version that is to be explained
                and cannot, or not in so many rows, an answer that took too long, or one that cannot be logged and must
                be; nothing was logged.
        """
        began = self._clock.monotonic()
        scored = self._scored(query, began)
        self._check_time(began)
        crashpoint("K38")
        outputs = [domain.output(prediction) for prediction in scored.predictions]
        ids = self._ids(query)
        packed = self._packed(query, scored, ids, outputs)
        logged = self._append(packed)
        rows = [{**output, "prediction_id": ident} for output, ident in zip(outputs, ids, strict=True)]
        if scored.explanations is not None:
            rows = [{**row, "explanation": own} for row, own in zip(rows, scored.explanations, strict=True)]
        if not logged:
            rows = [{**row, "logged": False} for row in rows]
        answer = Answer(scored.served.model, scored.served.version, rows)
        if logged and self._shadow is not None and query.target.alias == domain.CHAMPION:
            shadow = self._share(query, domain.SHADOW)
            if shadow is not None:
                self._shadow.offer(shadow, query, answer, sum(map(len, packed)))
        return answer

    def _scored(self, query: domain.Query, began: float) -> _Scored:
        challenger = self._challenger(query)
        if challenger is not None:
            try:
                return self._score(challenger, query, began)
            except ServiceError as e:  # the champion may take rows that the challenger does not
                _log.warning("challenger.declined", model=challenger.model, version=challenger.version, reason=str(e))
                self._declined(len(query.rows))
        return self._score(self._models.get(query.target), query, began)

    def _challenger(self, query: domain.Query) -> Served | None:
        if query.target.alias != domain.CHAMPION:
            return None
        return self._share(query, domain.CHALLENGER)

    def _share(self, query: domain.Query, alias: str) -> Served | None:
        """Return what an alias beside the champion points at, if the request is in its share."""
        found = self._models.beside(query.target.model, alias)
        if found is None:
            return None
        served, weight = found
        inside = weight >= 1 or (weight > 0 and domain.place_of(query, alias) < weight)
        return served if inside else None

    def _score(self, served: Served, query: domain.Query, began: float) -> _Scored:
        self._check_time(began)  # the first request for a model waits for the store
        if not query.explain and (few := _few(served.features, query.rows)) is not None:
            crashpoint("K37")
            return _Scored(served, served.predictor.predict_few(few), None, self._us_since(began))
        clean = clean_columns(served.features, query.rows)
        columns = _checked(served.features, query.rows) if clean is None else clean
        crashpoint("K37")
        if query.explain:
            domain.check_explained(len(query.rows), served.predictor.explaining_seconds)
        predictions = served.predictor.predict_clean(columns, len(query.rows))
        latency_us = self._us_since(began)
        explanations = _explanations(served, columns, predictions) if query.explain else None
        return _Scored(served, predictions, explanations, latency_us, clean)

    def _packed(
        self, query: domain.Query, scored: _Scored, ids: list[str], outputs: list[dict[str, Any]]
    ) -> list[bytes]:
        """Return what the log gets: blocks of many rows that are as they should be, else a record for each row."""
        version, now = scored.served.version, self._clock.now()
        if scored.columns is not None:
            blocks = domain.blocks(
                query, version, ids, domain.sent_columns(scored.served.features, query.rows, scored.columns), outputs,
                latency_us=scored.latency_us, predicted_at=now, pack=self._pack,
            )  # fmt: skip
            if max(map(len, blocks)) <= domain.MAX_RECORD_BYTES:
                return blocks
        packed = domain.records(
            query, version, ids, outputs, latency_us=scored.latency_us, predicted_at=now, pack=self._pack
        )
        _check_sizes(packed)
        return packed

    def _us_since(self, began: float) -> int:
        return round((self._clock.monotonic() - began) * 1e6)

    def _check_time(self, began: float) -> None:
        seconds = self._rules.seconds
        if seconds is not None and self._clock.monotonic() - began > seconds:
            raise ServiceError("deadline_exceeded", f"the prediction took longer than {seconds:g} s; send fewer rows")

    def _ids(self, query: domain.Query) -> list[str]:
        if query.idempotency_key is not None:
            return domain.repeatable_ids(query.key_id, query.idempotency_key, len(query.rows))
        if len(query.rows) == 1:
            return [f"pr_{os.urandom(16).hex()}"]
        random = os.urandom(16 * len(query.rows)).hex()
        return [f"pr_{random[begin : begin + 32]}" for begin in range(0, len(random), 32)]

    def _append(self, packed: list[bytes]) -> bool:
        try:
            with step("K39"):
                self._prediction_log.append(packed)
        except (OSError, TransientError) as e:
            _log.error("prediction.not_logged", reason=str(e), rows=len(packed))
            self._not_logged(len(packed))
            if not self._rules.unlogged:
                raise ServiceError(
                    "not_logged", "the prediction log cannot be written; try again", retry_after_seconds=1
                ) from e
            return False
        return True


def _few(features: Schema, rows: Sequence[Any]) -> list[dict[str, Any]] | None:
    """Return few rows, each value checked; None where they are many, or must be looked at value by value."""
    return clean_rows(features, rows) if len(rows) <= FEW_ROWS else None


def checked_columns(features: Schema, rows: Sequence[Any]) -> dict[str, Any]:
    """Return the rows by columns, each value checked; raises ``invalid_rows`` with every problem of every row."""
    columns = clean_columns(features, rows)
    return _checked(features, rows) if columns is None else columns


def _explanations(served: Served, columns: dict[str, Any], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    predicted = [prediction.prediction for prediction in predictions]
    found = served.predictor.explain_columns(columns, predicted)
    return [found.row(index, one) for index, one in enumerate(predicted)]


def _checked(features: Schema, rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Return clean columns; raises ``invalid_rows`` with every problem of every row."""
    clean, problems = features.check_rows(list(rows))
    if problems:
        said = f"{len(problems)} problem{'s' * (len(problems) > 1)} in {len(rows)} row{'s' * (len(rows) > 1)}"
        raise ServiceError("invalid_rows", f"{said}; the details list them", problems)
    good = [row for row in clean if row is not None]
    return {name: [row[name] for row in good] for name in features.names}


def _check_sizes(packed: list[bytes]) -> None:
    """Refuse a row that no queue message could carry, because it could never be logged."""
    if max(map(len, packed)) <= domain.MAX_RECORD_BYTES:
        return
    problems = [
        Problem(number, None, f"a row of at most {domain.MAX_RECORD_BYTES:,} bytes", f"{len(record):,} bytes")
        for number, record in enumerate(packed, start=1)
        if len(record) > domain.MAX_RECORD_BYTES
    ]
    raise ServiceError("too_large", f"{len(problems)} row(s) are too large to be logged", problems)
