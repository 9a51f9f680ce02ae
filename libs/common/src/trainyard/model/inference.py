"""Predictions from a model: ``Predictor`` for rows (serving) and for whole columns (the trainer's evaluation).

Both ways compute the same from the same clean values and give the same bits: whole columns with numpy
(:mod:`trainyard.model.batches`), or row by row (:mod:`trainyard.model.single`), without numpy where a process has not
imported it.
"""

from __future__ import annotations

import math
from datetime import date

from trainyard.errors import ArtifactError, Problem, ServiceError
from trainyard.frozen import dataclass, replace
from trainyard.model.arrays import numpy_is_loaded
from trainyard.model.converters import plain
from trainyard.model.decision import decided_for
from trainyard.model.dto import Golden
from trainyard.model.single import Single, can_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from trainyard.model.batches import Batches
    from trainyard.model.dto import ClassLabel, FloatArray, Model
    from trainyard.model.explaining import Explainer, Explanation
    from trainyard.model.features import Column

GOLDEN_TOLERANCE = 1e-9
#: Rows, in one request or in all, that are worth importing numpy for.
WORTH_NUMPY = 256
#: Up to so many rows of a request, numpy's calls for each column take longer than Python for each row.
FEW_ROWS = 4


@dataclass(frozen=True)
class Prediction:
    """The answer for one row: a class or a number, and for classifiers the probability of each class by name."""

    prediction: ClassLabel | float
    probabilities: dict[str, float] | None


class Predictor:
    """A model made ready to answer; building it costs little, and threads may share it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._class_names = [class_name(c) for c in model.classes]
        self._features = model.schema.features
        self._required = frozenset(c.name for c in self._features)
        self._without_numpy = can_answer(model)
        self._rows = 0  # threads may lose some of each other's; it only says when numpy is worth it
        self._single: Single | None = None
        self._few: Single | None = None
        self._batches: Batches | None = None
        self._explainer: Explainer | None = None

    def predict(self, rows: Sequence[object]) -> list[Prediction]:
        """Answer JSON rows ``{column: value}``, bound by name; every feature must be there, null meaning missing.

        Raises:
            ServiceError: ``invalid_rows``, the details listing every problem of every row.
        """
        return self.predict_clean(self._clean(rows), len(rows))

    def predict_clean(self, columns: Mapping[str, Sequence[Any]], n_rows: int) -> list[Prediction]:
        """Answer columns of clean values, lists as ``check_value`` gives their items.

        Raises:
            ServiceError: ``invalid_rows`` when a value is so large that the answer is not a finite number.
        """
        return self._decided(self._rows_of_outputs(columns, n_rows))

    def predict_few(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """Answer rows of clean values as :meth:`predict_clean` does, one by one: for up to FEW_ROWS the quicker way.

        Raises:
            ServiceError: ``invalid_rows`` when a value is so large that the answer is not a finite number.
        """
        self._rows += len(rows)
        single = self._ready_single
        return self._decided([single.answer(row) for row in rows])

    def predict_columns(self, columns: Mapping[str, Column]) -> FloatArray:
        """Answer clean columns: lists of values as ``check_value`` gives them, or numpy arrays (features.py).

        Returns:
            Classifiers: probabilities (rows, classes) in the order of ``model.classes``; regression: values (rows,).

        Raises:
            KeyError: a feature that the model reads is not there.
            ServiceError: ``invalid_rows`` when a value is so large that the answer is not a finite number.
        """
        import numpy as np  # noqa: PLC0415 - see arrays.py

        out = self._vectorised.outputs(columns, _length(columns))
        _require_finite(np.flatnonzero(~np.isfinite(out).all(axis=1)).tolist())
        return out if self.model.classes else out[:, 0]

    def explain(self, rows: Sequence[object]) -> Explanation:
        """Explain JSON rows, bound by name; raises as :meth:`predict` and :meth:`explain_columns` do."""
        return self.explain_columns(self._clean(rows))

    def explain_columns(
        self, columns: Mapping[str, Column], predicted: Sequence[ClassLabel | float] | None = None
    ) -> Explanation:
        """Return what each column contributes to the scores of clean columns, given as to :meth:`predict_columns`.

        Where it is told what was predicted of each row, it explains of several classes that one only.

        Raises:
            KeyError: a feature that the model reads is not there.
            ServiceError: ``cannot_explain`` when the model has trees without covers, ``invalid_rows`` when a value is
                so large that a score is not a finite number.
        """
        import numpy as np  # noqa: PLC0415 - see arrays.py

        found = self._ready_explainer.explain(columns, _length(columns), predicted)
        _require_finite(np.flatnonzero(~found.finite).tolist())
        return found

    @property
    def explaining_seconds(self) -> float:
        """About how long it takes at most to explain one output of a row; raises ``cannot_explain``."""
        return self._ready_explainer.seconds

    def self_test(self) -> None:
        """Run the golden rows.

        Raises:
            ArtifactError: ``bad_golden`` when there are none or they do not fit the schema, ``golden_mismatch`` when an
                answer is off by more than 1e-9 (for values beyond 1: relative).
        """
        golden = self.model.golden
        if golden is None:
            raise ArtifactError("bad_golden", "the model has no golden rows")
        got, expected = self.golden_outputs(golden.rows), golden.expected.tolist()
        near = len(got) == len(expected) and all(
            len(row) == len(wanted)
            and all(abs(a - b) <= GOLDEN_TOLERANCE * max(1.0, abs(b)) for a, b in zip(row, wanted, strict=True))
            for row, wanted in zip(got, expected, strict=True)
        )
        if not near:
            raise ArtifactError("golden_mismatch", "the model does not answer its golden rows as it did when made")

    def golden_outputs(self, rows: Sequence[object]) -> list[list[float]]:
        """Return what the model answers to rows in JSON form: probabilities (rows, classes) or values (rows, 1).

        Raises:
            ArtifactError: ``bad_golden`` when a row does not fit the schema or has no finite answer.
        """
        clean, problems = self.model.schema.check_rows(rows, columns=self._features, require=self._required)
        if problems:
            raise ArtifactError("bad_golden", f"a golden row does not fit the schema: expected {problems[0].expected}")
        good = [row for row in clean if row is not None]
        outputs = self._rows_of_outputs({name: [row[name] for row in good] for name in self._required}, len(good))
        if not all(math.isfinite(value) for row in outputs for value in row):
            raise ArtifactError("bad_golden", "a golden row has no finite answer")
        return outputs

    def _clean(self, rows: Sequence[object]) -> dict[str, list[Any]]:
        """Return JSON rows as clean columns; raises ``invalid_rows`` with every problem of every row."""
        clean, problems = self.model.schema.check_rows(rows, columns=self._features, require=self._required)
        if problems:
            raise ServiceError("invalid_rows", f"the rows have {len(problems)} problem(s)", problems)
        good = [row for row in clean if row is not None]
        return {name: [row[name] for row in good] for name in self._required}

    def _rows_of_outputs(self, columns: Mapping[str, Sequence[Any]], n_rows: int) -> list[list[float]]:
        """Return probabilities (rows, classes) or values (rows, 1), by whichever way costs less."""
        self._rows += n_rows
        if self._does_without_numpy or n_rows <= FEW_ROWS:
            return self._ready_single.outputs(columns, n_rows)
        outputs: list[list[float]] = self._vectorised.outputs(columns, n_rows).tolist()
        return outputs

    @property
    def _does_without_numpy(self) -> bool:
        return self._without_numpy and self._rows < WORTH_NUMPY and not numpy_is_loaded()

    @property
    def _ready_single(self) -> Single:
        if self._few is not None:
            return self._few
        if self._does_without_numpy:
            self._single = self._single or Single(self.model)
            return self._single
        self._few = Single(self.model, self._vectorised.scorers_of_one())
        return self._few

    @property
    def _ready_explainer(self) -> Explainer:
        if self._explainer is None:
            from trainyard.model.explaining import Explainer  # noqa: PLC0415 - few processes are asked for it

            self._explainer = Explainer(self.model, self._vectorised.scorers)
        return self._explainer

    @property
    def _vectorised(self) -> Batches:
        if self._batches is None:
            from trainyard.model.batches import Batches  # noqa: PLC0415 - imports numpy

            self._batches = Batches(self.model)
        return self._batches

    def _decided(self, outputs: list[list[float]]) -> list[Prediction]:
        """Turn the outputs of rows into their answers; raises ``invalid_rows`` where one is not finite."""
        _require_finite(at for at, row in enumerate(outputs) if not all(map(math.isfinite, row)))
        model = self.model
        if not model.classes:
            return [Prediction(value, None) for (value,) in outputs]
        return [
            Prediction(
                model.classes[decided_for(model.task, row, model.threshold)],
                dict(zip(self._class_names, row, strict=True)),
            )
            for row in outputs
        ]


def _require_finite(bad: Iterable[int]) -> None:
    """Raise ``invalid_rows`` for rows, counted from 0, whose answers are not finite."""
    rows = list(bad)
    if rows:
        wanted, got = "values within the model's range", "no finite answer"
        problems = [Problem(at + 1, None, wanted, got) for at in rows[:1000]]
        raise ServiceError("invalid_rows", f"{len(rows)} row(s) have values that are too large", problems)


def _length(columns: Mapping[str, Column]) -> int:
    """Return how many rows the columns have; ValueError where they disagree."""
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"the columns are of different lengths: {sorted(lengths)}")
    return lengths.pop()


def class_name(label: ClassLabel) -> str:
    """Return the label as a JSON key: ``true`` and ``false`` for bools, digits for ints."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def self_test(model: Model) -> None:
    """Run the model's golden rows; see :meth:`Predictor.self_test`."""
    Predictor(model).self_test()


def with_golden(model: Model, rows: Sequence[Mapping[str, Any]]) -> Model:
    """Return the model with the features of ``rows`` (1 to 32) and what it answers to them as golden rows.

    Values may be in JSON form or clean (dates and times as Python objects, numpy scalars).

    Raises:
        ArtifactError: ``bad_golden`` when a row does not fit the schema or has no finite answer.
    """
    kept = tuple({c.name: _as_json(row.get(c.name)) for c in model.schema.features} for row in rows)
    return replace(model, golden=Golden(kept, Predictor(model).golden_outputs(kept)))


def _as_json(value: Any) -> Any:
    value = plain(value)
    return value.isoformat() if isinstance(value, date) else value
