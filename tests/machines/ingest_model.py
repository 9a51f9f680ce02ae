"""What ingest promises, in memory and without any of its code: the model that the state machine compares with.

A body knows what it means, so nothing is parsed here. Where a promise will be added: more columns and wider types on
PUT in :meth:`IngestModel.create` (rows are padded with None), erasure by key and retention as a method that takes
entries out of :attr:`DatasetModel.rows` and forgets the snapshots that they touch.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import Any


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

    def stored(self) -> list[tuple[Any, ...]]:
        """Return the rows that fit as they are kept: CSV cannot tell an empty text from none."""
        nothing = "" if self.kind == "csv" else object()
        return [tuple(None if v == nothing else v for v in row) for row in self.rows if row is not None]


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
        dataset, rejected = self.live[name], sum(row is None for row in body.rows)
        rows = len(body.rows) - rejected
        span = dataset.last_seq + 1, dataset.last_seq + rows
        return Outcome(None, Entry(sha256, "committed", rows, rejected, *span), new=True)

    def _refusal(self, name: str, body: Body) -> str | None:
        columns = tuple(column.name for column in self.live[name].columns)
        if body.broken:
            return {"csv": "bad_csv", "ndjson": "bad_json"}[body.kind]
        if not body.rows:
            return "empty_body"
        many = sum(row is None for row in body.rows) * 20 > len(body.rows)
        return "invalid_rows" if many or body.names != columns else None  # a file may come before its dataset

    def push(self, name: str, body: Body, key: str | None) -> Outcome:
        """Let a body come in, and return what comes of it."""
        outcome = self.outcome(name, body, key)
        if outcome.new and outcome.entry is not None:
            dataset = self.live[name]
            dataset.ledger[self.fingerprint(body, key)] = outcome.entry
            dataset.rows.update(enumerate(body.stored(), start=dataset.last_seq + 1))
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
