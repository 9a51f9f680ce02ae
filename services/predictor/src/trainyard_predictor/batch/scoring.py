"""A chunk of records in, scored rows and bad lines out: pure, and the same bytes for the same chunk."""

from __future__ import annotations

import hashlib
from datetime import date
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

from trainyard import strict_json
from trainyard.errors import Problem, ServiceError
from trainyard.model import class_name
from trainyard.schema import parse_text, parse_text_column, shown
from trainyard_predictor.batch.job import CSV
from trainyard_predictor.columns import clean_columns
from trainyard_predictor.domain import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.model import Prediction
    from trainyard_predictor.batch.job import Job
    from trainyard_predictor.batch.records import Record
    from trainyard_predictor.use_cases import Served

    _Columns = dict[str, list[Any]]
    _Problems = dict[int, list[dict[str, str | None]]]

_PREFIX = "trainyard_"
_QUOTED = frozenset(',"\r\n')
_PLACES = 2**64


class Scored(NamedTuple):
    """What became of a chunk: bytes for the output and for the rejects, and how many rows each got.

    ``sample``: (prediction id, inputs, prediction) of the rows that belong to the job's share of the prediction log.
    """

    output: bytes
    rejects: bytes
    good: int
    bad: int
    sample: list[tuple[str, dict[str, Any], Prediction]]


class Scorer:
    """Scores the chunks of one job by its version.

    Args:
        names: the header of a CSV; empty for NDJSON.
    """

    def __init__(self, served: Served, job: Job, names: Sequence[str] = ()) -> None:
        self._served = served
        self._job = job
        self._features = served.features
        self._width = len(names)
        self._places = {name: at for at, name in enumerate(names)}
        self._ids = hashlib.blake2b(f"{job.id}\0".encode(), digest_size=16)
        self._added = _added(served, names)
        if job.form == CSV:
            self._check_header(names)

    def heading(self, text: str) -> bytes:
        """Return the first line of a CSV output."""
        return f"{text},{','.join(map(_cell, self._added))}\n".encode()

    def __call__(self, records: Sequence[Record], before: int) -> Scored:
        """Score records, of which the first is row ``before + 1``."""
        problems: _Problems = {
            at: [_problem(None, record.expected, record.got)]
            for at, record in enumerate(records)
            if record.value is None
        }
        take = self._from_cells if self._job.form == CSV else self._from_objects
        good, columns = take(records, problems)
        good, columns, predictions = self._predicted(good, columns, problems)
        ids = [self._id(before + at + 1) for at in good]
        write = self._line if self._job.form == CSV else self._object
        rows = [
            write(records[at], before + at + 1, one, ident)
            for at, one, ident in zip(good, predictions, ids, strict=True)
        ]
        rejects = [_rejected(records[at], before + at + 1, problems[at]) for at in sorted(problems)]
        sample = self._sample(columns, ids, predictions) if self._job.log_share > 0 else []
        return Scored(b"".join(rows), b"".join(rejects), len(good), len(problems), sample)

    # --- from records to columns: what does not fit is noted in ``problems`` and left out ---

    def _check_header(self, names: Sequence[str]) -> None:
        """Refuse a file in which no row could be scored, or each by missing values alone: commas that are none, say."""
        problems = [
            Problem(None, column.name, "the column to be present", "absent")
            for column in self._features.columns
            if not column.nullable and column.name not in self._places
        ]
        problems += [
            Problem(None, name, "the column once", f"{names.count(name)} times")
            for name in self._features.names
            if names.count(name) > 1
        ]
        if not problems and not self._places.keys() & set(self._features.names):
            known = ", ".join(self._features.names[:20])
            problems = [Problem(None, names[0], f"some of {known}", "none of them")]
        if problems:
            said = "; ".join(f"{one.column}: expected {one.expected}, got {one.got}" for one in problems[:20])
            raise ServiceError("invalid_rows", f"the header does not fit the model: {said}", problems)

    def _from_cells(self, records: Sequence[Record], problems: _Problems) -> tuple[list[int], _Columns]:
        for at, record in enumerate(records):
            if record.value is not None and len(record.value) != self._width:
                problems[at] = [_problem(None, f"{self._width} cells", f"{len(record.value)} cells")]
        good = [at for at in range(len(records)) if at not in problems]
        columns: _Columns = {}
        for column in self._features.columns:
            place = self._places.get(column.name)
            if place is None:
                columns[column.name] = [None] * len(good)
                continue
            cells = [records[at].value[place] for at in good]
            columns[column.name], bad = parse_text_column(column, cells)
            for index in bad:
                expected = parse_text(column, cells[index])[1] or "another value"
                problems.setdefault(good[index], []).append(_problem(column.name, expected, shown(cells[index])))
        return _without(problems, good, columns)

    def _from_objects(self, records: Sequence[Record], problems: _Problems) -> tuple[list[int], _Columns]:
        good = [at for at in range(len(records)) if at not in problems]
        names = self._features.names
        rows = [{name: value[name] for name in names if name in value} for value in (records[at].value for at in good)]
        columns = clean_columns(self._features, rows) if rows else None
        if columns is not None:
            return good, columns
        clean: list[dict[str, Any]] = []
        for at, row in zip(good, rows, strict=True):  # one by one: a check of all stops at its most problems
            found, wrong = self._features.check_rows([row])
            if wrong:
                problems[at] = [_problem(one.column, one.expected, one.got) for one in wrong]
            clean += [one for one in found if one is not None]
        good = [at for at in good if at not in problems]
        return good, {name: [row[name] for row in clean] for name in names}

    def _predicted(
        self, good: list[int], columns: _Columns, problems: _Problems
    ) -> tuple[list[int], _Columns, list[Prediction]]:
        """Return the rows that have an answer, their columns, and the answers."""
        if not good:
            return good, columns, []
        try:
            return good, columns, self._served.predictor.predict_clean(columns, len(good))
        except ServiceError as e:
            if e.code != "invalid_rows" or not e.details:
                raise
            for one in e.details:
                if one.row is not None:
                    problems[good[one.row - 1]] = [_problem(one.column, one.expected, one.got)]
        return self._predicted(*_without(problems, good, columns), problems)

    # --- what is written of a row ---

    def _id(self, row: int) -> str:
        own = self._ids.copy()
        own.update(str(row).encode())
        return f"pr_{own.hexdigest()}"

    def _line(self, record: Record, _row: int, one: Prediction, ident: str) -> bytes:
        cells = [_cell(one.prediction), *map(repr, (one.probabilities or {}).values())]
        return record.text + f",{','.join(cells)},{self._job.version},{ident}\n".encode()

    def _object(self, record: Record, row: int, one: Prediction, ident: str) -> bytes:
        said = {**output(one), "version": self._job.version, "prediction_id": ident}
        return b'{"row":%d,"input":%b,%b\n' % (row, record.text, strict_json.dumps(said)[1:])

    def _sample(
        self, columns: _Columns, ids: Sequence[str], predictions: Sequence[Prediction]
    ) -> list[tuple[str, dict[str, Any], Prediction]]:
        return [
            (ident, {name: _json(values[at]) for name, values in columns.items()}, one)
            for at, (ident, one) in enumerate(zip(ids, predictions, strict=True))
            if int(ident[-16:], 16) < self._job.log_share * _PLACES
        ]


def _added(served: Served, names: Sequence[str]) -> list[str]:
    """Return the columns that a CSV gets; with a prefix where it has one of these names already."""
    classes = [f"probability_{class_name(label)}" for label in served.predictor.model.classes]
    added = ["prediction", *classes, "version", "prediction_id"]
    if set(added) & set(names):
        added = [_PREFIX + name for name in added]
    taken = sorted(set(added) & set(names))
    if taken:
        raise ServiceError("invalid_rows", f"the input has columns that its output gets: {', '.join(taken)}")
    return added


def _without(problems: _Problems, good: list[int], columns: _Columns) -> tuple[list[int], _Columns]:
    """Return rows and columns without those that have problems."""
    keep = [at not in problems for at in good]
    if all(keep):
        return good, columns
    return list(compress(good, keep)), {name: list(compress(values, keep)) for name, values in columns.items()}


def _problem(column: str | None, expected: str, got: str) -> dict[str, str | None]:
    return {"column": column, "expected": expected, "got": got}


def _rejected(record: Record, row: int, problems: list[dict[str, str | None]]) -> bytes:
    text = record.text.decode("utf-8", "replace")
    return strict_json.dumps({"line": record.line, "row": row, "problems": problems, "text": text}) + b"\n"


def _cell(value: object) -> str:
    """Return a value as a cell of CSV."""
    text = value if isinstance(value, str) else class_name(value) if isinstance(value, bool | int) else repr(value)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.intersection(text) else text


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
