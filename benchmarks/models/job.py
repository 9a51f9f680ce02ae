"""A case as a training job of the product: the directory that the trainer's child process is given."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.policy import Policy
from trainyard.schema import Column, Schema
from trainyard.snapshot import Snapshot, Texts
from trainyard_trainer import workdir

if TYPE_CHECKING:
    from benchmarks.models.cases import Case
    from benchmarks.models.catalog import Dataset

#: The rows that are asked take the place of the trainer's own hold-out, which is cut down to so many of the learnt
#: rows: it cannot do without, and with a fifth of its own it would learn from fewer rows than the others.
OWN_HOLDOUT = 30
_LABEL = "the label"
_TIME = "the time"


def write_job(dataset: Dataset, seed: int, case: Case) -> None:
    """Write the directory ``job`` into the case's own; the budget is left to whoever starts it."""
    job = case.directory / "job"
    job.mkdir()
    snapshot = _snapshot(case, seed, timed=dataset.split == "time")
    policy = Policy(seed=seed)
    workdir.write_job(
        job,
        snapshot,
        model=dataset.name,
        dataset=dataset.name,
        label=_LABEL,
        settings=policy.settings() | {"gate": asdict(policy.gate) | {"min_rows": OWN_HOLDOUT}},
        task=dataset.task,
        # By the time rule the hold-out is what came after the last version: here the newest few rows.
        known_seq=snapshot.rows - OWN_HOLDOUT if dataset.split == "time" else 0,
    )


def _snapshot(case: Case, seed: int, *, timed: bool) -> Snapshot:
    """Return the learnt rows as the product would read them from its database."""
    columns: list[Column] = []
    values: dict[str, Any] = {}
    about = json.loads((case.directory / "case.json").read_text())
    for number, column in enumerate(about["columns"]):
        stored = np.load(case.directory / "learn" / f"{number}.npy")
        columns.append(Column(column["name"], column["type"]))
        values[column["name"]] = Texts(stored, tuple(column["levels"])) if column["type"] == "category" else stored
    columns.append(Column(_LABEL, case.kind, role="label"))
    values[_LABEL] = Texts(case.learnt, case.levels) if case.classes else case.learnt
    rows = len(case.learnt)
    seq = np.arange(1, rows + 1)
    unit = None
    if timed:
        columns.append(Column(_TIME, "timestamp", role="event_time"))
        values[_TIME] = (seq * 60_000_000).astype("datetime64[us]")
    else:
        # A unit that 5 divides is held out, any other is learnt from (trainyard.holdout).
        rng = np.random.default_rng(seed)
        unit = rng.integers(0, 2**60, rows, dtype=np.uint64) * np.uint64(5) + np.uint64(1)
        unit[rng.permutation(rows)[:OWN_HOLDOUT]] -= np.uint64(1)
    return Snapshot(Schema(columns), rows, seq, seq, values, "0" * 64, known_unit=unit)
