"""What ingest promises, in memory and without any of its code: the model that the state machine compares with.

A body knows what it means, so nothing is parsed here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

_NOBODY = {"int": 99, "text": "nobody"}


@dataclass(frozen=True)
class Body:
    """Rows as somebody sends them: None stands for a row that does not fit. ``broken``: what follows cannot be read."""

    kind: str  # csv or ndjson
    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...] | None, ...]
    broken: bool = False

    def encoded(self) -> bytes:
        """Return the bytes."""
        out = io.StringIO()
        if self.kind == "csv":
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(self.names)
            writer.writerows([_text(v) for v in row or ("?",) * len(self.names)] for row in self.rows)
            out.write('a,"b' if self.broken else "")
        else:
            for row in self.rows:
                out.write(json.dumps({n: _json(v) for n, v in zip(self.names, row or ([],) * 9, strict=False)}) + "\n")
            out.write("{" if self.broken else "\n")
        return out.getvalue().encode()

    def stored(self, columns: tuple[Any, ...]) -> list[tuple[Any, ...] | None]:
        """Return the rows as they are kept, None for one that does not fit: CSV cannot tell an empty text from none."""
        nothing = "" if self.kind == "csv" else object()
        rows: list[tuple[Any, ...] | None] = []
        for row in self.rows:
            values = {} if row is None else dict(zip(self.names, row, strict=True))
            fits = row is not None and all(_fits(c.type, values.get(c.name)) for c in columns)
            kept = (None if (v := values.get(c.name)) == nothing else _widened(v, c.type) for c in columns)
            rows.append(tuple(kept) if fits else None)
        return rows


def _fits(kind: str, value: Any) -> bool:
    """Tell whether a value fits a column that may have become wider since it was written down."""
    return value is None or {"date": type(value) is date, "timestamp": type(value) is datetime}.get(kind, True)


def _widened(value: Any, kind: str) -> Any:
    if kind == "timestamp" and type(value) is date:
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return float(value) if kind == "float" and value is not None else value


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | list) else str(value)


@dataclass
class Entry:
    """A line of the ledger. ``ident`` is known once an answer has shown it."""

    sha256: str
    state: str
    rows: int = 0
    rejected: int = 0
    first: int | None = None
    last: int | None = None
    ident: str | None = None


@dataclass
class DatasetModel:
    """One dataset, alive or deleted."""

    name: str
    columns: tuple[Any, ...]
    id: int = 0
    last_seq: int = 0
    rows: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    ledger: dict[str, Entry] = field(default_factory=dict)
    revision: int = 1
    tombstones: list[tuple[str, int]] = field(default_factory=list)
    old_upto: int = 0

    def some_key(self, place: int | None) -> dict[str, Any]:
        """Return the key of a row; for None, and where a part of it is missing, one that no row has."""
        row = list(self.rows.values())[place % len(self.rows)] if self.rows and place is not None else None
        found = {}
        for number, column in enumerate(self.columns):
            if column.role == "key":
                value = None if row is None else row[number]
                found[column.name] = _NOBODY[column.type] if value is None else value
        return found

    def remove(self, gone: list[int]) -> list[int]:
        """Take out the rows with these numbers, and return them."""
        self.rows = {seq: row for seq, row in self.rows.items() if seq not in set(gone)}
        return gone

    def latest(self, upto: int) -> list[tuple[int, int, tuple[Any, ...]]]:
        """Return (number, first number of the key, values) of each key's latest row, those without a key each alone."""
        places = [n for n, column in enumerate(self.columns) if column.role == "key"]
        found: dict[Any, tuple[int, int, tuple[Any, ...]]] = {}
        for seq, row in self.rows.items():
            key = tuple(row[place] for place in places)
            known: Any = ("row", seq) if not places or None in key else ("key", *key)
            if seq <= upto:
                found[known] = (seq, found[known][1] if known in found else seq, row)
        return sorted(found.values())


@dataclass(frozen=True)
class Outcome:
    """What comes of a body: a refusal's code, or an entry of the ledger that is new or was there."""

    code: str | None
    entry: Entry | None = None
    new: bool = False


class IngestModel:
    """All datasets."""

    def __init__(self) -> None:
        self.live: dict[str, DatasetModel] = {}
        self.deleted: list[DatasetModel] = []

    def create(self, name: str, columns: tuple[Any, ...]) -> str:
        """Make a dataset: ``made``, ``alike`` or ``conflict``."""
        if name in self.live:
            return "alike" if self.live[name].columns == columns else "conflict"
        self.live[name] = DatasetModel(name, columns)
        return "made"

    def evolve(self, name: str, columns: tuple[Any, ...]) -> str:
        """Bring a dataset to these columns, its own first: ``evolved``, ``as it was`` or ``narrowing``."""
        dataset = self.live[name]
        if len(columns) < len(dataset.columns):
            return "narrowing"
        if columns == dataset.columns:
            return "as it was"
        dataset.revision += 1
        dataset.columns = columns
        for seq, row in dataset.rows.items():
            values = (*row, *[None] * (len(columns) - len(row)))
            dataset.rows[seq] = tuple(_widened(v, c.type) for v, c in zip(values, columns, strict=True))
        return "evolved"

    def erasable(self) -> list[str]:
        """Return the datasets that have rows and a key."""
        return [name for name, dataset in self.live.items() if dataset.rows and dataset.some_key(None)]

    def erase(self, name: str, key: dict[str, Any]) -> list[int]:
        """Remove every row of the key and return their numbers."""
        dataset = self.live[name]
        places = [(place, key[c.name]) for place, c in enumerate(dataset.columns) if c.name in key]
        gone = [seq for seq, row in dataset.rows.items() if all(row[place] == value for place, value in places)]
        dataset.tombstones.append(("key", len(gone)))
        return dataset.remove(gone)

    def outlive(self, name: str, old_upto: int) -> list[int]:
        """Let batches up to there be old; remove the rows before the first that is not, and return their numbers."""
        dataset = self.live[name]
        dataset.old_upto = max(dataset.old_upto, old_upto)
        young = [e.first for e in dataset.ledger.values() if e.first and e.rows and e.last > dataset.old_upto]
        first = min(young, default=dataset.last_seq + 1)
        gone = [seq for seq in dataset.rows if seq < first]
        if gone:  # a day's removals share a tombstone
            before = [n for kind, n in dataset.tombstones if kind == "retention"]
            dataset.tombstones = [stone for stone in dataset.tombstones if stone[0] != "retention"]
            dataset.tombstones.append(("retention", sum(before) + len(gone)))
        return dataset.remove(gone)

    def delete(self, name: str) -> str:
        """Remove a dataset: ``deleted`` or ``unknown_dataset``; its ledger stays."""
        if name not in self.live:
            return "unknown_dataset"
        self.deleted.append(self.live.pop(name))
        return "deleted"

    def outcome(self, name: str, body: Body, key: str | None) -> Outcome:
        """Say what comes of a body; ``key`` None: the body's own hash is its fingerprint."""
        if name not in self.live:
            return Outcome("unknown_dataset")
        ledger, sha256 = self.live[name].ledger, hashlib.sha256(body.encoded()).hexdigest()
        if key is not None and key in ledger:
            same = ledger[key].sha256 == sha256
            return Outcome(None, ledger[key]) if same else Outcome("key_reused")
        code = self._refusal(name, body)
        if code is not None:
            return Outcome(code)
        if self.fingerprint(body, key) in ledger:
            return Outcome(None, ledger[self.fingerprint(body, key)])
        dataset = self.live[name]
        rejected = body.stored(dataset.columns).count(None)
        rows = len(body.rows) - rejected
        span = dataset.last_seq + 1, dataset.last_seq + rows
        return Outcome(None, Entry(sha256, "committed", rows, rejected, *span), new=True)

    def _refusal(self, name: str, body: Body) -> str | None:
        columns = self.live[name].columns
        if body.broken:
            return {"csv": "bad_csv", "ndjson": "bad_json"}[body.kind]
        if not body.rows:
            return "empty_body"
        many = body.stored(columns).count(None) * 20 > len(body.rows)
        # A file may come before its dataset, or before its columns.
        strange = set(body.names) - {c.name for c in columns}
        absent = {c.name for c in columns if not c.nullable} - set(body.names)
        return "invalid_rows" if many or strange or absent else None

    def push(self, name: str, body: Body, key: str | None) -> Outcome:
        """Let a body come in, and return what comes of it."""
        outcome = self.outcome(name, body, key)
        if outcome.new and outcome.entry is not None:
            dataset = self.live[name]
            dataset.ledger[self.fingerprint(body, key)] = outcome.entry
            rows = [row for row in body.stored(dataset.columns) if row is not None]
            dataset.rows.update(enumerate(rows, start=dataset.last_seq + 1))
            dataset.last_seq += outcome.entry.rows
        return outcome

    def land(self, name: str, fingerprint: str, body: Body) -> None:
        """Let a file come in: a refusal is entered too, and nothing is done twice."""
        if name in self.live and fingerprint not in self.live[name].ledger:
            outcome = self.push(name, body, fingerprint)
            if outcome.code is not None:
                self.live[name].ledger[fingerprint] = Entry("", "refused")

    @staticmethod
    def fingerprint(body: Body, key: str | None) -> str:
        """Return what a batch is known by."""
        return key or f"sha256:{body.kind}:{hashlib.sha256(body.encoded()).hexdigest()}"
