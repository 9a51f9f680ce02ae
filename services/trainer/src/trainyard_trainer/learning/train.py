"""One job from its directory to its artifact: split, search, test against prior and champion, encode."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.gate import judge
from trainyard.holdout import Split, split_by_hash, split_by_time
from trainyard.model import Lineage, Model, Predictor, encode, with_golden
from trainyard.policy import Policy
from trainyard_trainer import workdir
from trainyard_trainer.domain import DataError
from trainyard_trainer.learning import champion
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.candidates import prior_of
from trainyard_trainer.learning.search import Found, Known, Search
from trainyard_trainer.learning.table import Table, model_schema, table_of
from trainyard_trainer.learning.target import Target, define

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainyard.clock import Clock
    from trainyard.gate import GateReport
    from trainyard.model import Blend, Pipeline
    from trainyard.schema import Schema
    from trainyard.snapshot import Snapshot

#: Labelled rows below which there is nothing to learn from, and to choose with.
MIN_FIT_ROWS = 30
MIN_VALIDATION_ROWS = 5
_GOLDEN_ROWS = 8
_CHECK_ROWS = 256



def train(directory: Path, clock: Clock, progress: Callable[[str, int, int], None]) -> None:
    """Do the job in ``directory`` and leave artifact, report and check rows there.

    Raises:
        DataError: the rows allow no model.
        ParityError: the exported model does not answer as the trained one.
    """
    job = workdir.read_json(directory, workdir.JOB)
    policy = Policy.from_dict(job["settings"])
    budget = Budget(clock, policy.budget_seconds)
    snapshot = workdir.read_snapshot(directory, job["snapshot"])
    progress("splitting", 0, snapshot.rows)
    split = split_of(snapshot, known_seq=job["known_seq"], policy=policy)
    schema = _schema_of(snapshot.schema, job["label"])
    table = table_of(snapshot, schema)
    column = snapshot.schema.column(job["label"])
    target = define(column, snapshot.columns[job["label"]], split.train, job["task"])
    found = _search(job, policy, schema, table, target, split, budget, clock, progress)
    progress("testing", 0, split.record["test_rows"])
    model = _model(job, policy, schema, target, found, split)
    report, model = _test(directory, job, policy, model, table, target, split)
    model = with_golden(model, _golden_rows(table, np.flatnonzero(split.fit)))
    (directory / workdir.ARTIFACT).write_bytes(encode(model))
    _leave(directory, found, report, split, target, budget)


def split_of(snapshot: Snapshot, *, known_seq: int, policy: Policy) -> Split:
    """Return the parts by the rule that the dataset calls for."""
    if snapshot.schema.event_time is None:
        return split_by_hash(snapshot.unit, upto_seq=snapshot.upto_seq, seed=policy.seed)
    return split_by_time(
        snapshot.seq,
        snapshot.first_seq,
        upto_seq=snapshot.upto_seq,
        known_seq=known_seq,
        min_rows=policy.gate.min_rows,
    )


def _schema_of(schema: Schema, label: str) -> Schema:
    if label not in schema:
        raise DataError(f"the dataset has no column '{label}' to be the label")
    if schema.column(label).role in ("key", "event_time"):
        raise DataError(f"the column '{label}' is the dataset's {schema.column(label).role}; it cannot be the label")
    seen = model_schema(schema, label)
    if not seen.features:
        raise DataError("the dataset has no feature column")
    return seen


def _search(
    job: Mapping[str, Any],
    policy: Policy,
    schema: Schema,
    table: Table,
    target: Target,
    split: Split,
    budget: Budget,
    clock: Clock,
    progress: Callable[[str, int, int], None],
) -> Found:
    def known(rows: Any, what: str, needed: int) -> Known:
        chosen = np.flatnonzero(rows & target.learnable)
        if len(chosen) < needed:
            raise DataError(f"{len(chosen)} labelled row(s) {what}; at least {needed} are needed")
        return Known(table.take(chosen), target.values[chosen])

    def shell(pipeline: Pipeline | Blend) -> Model:
        return Model(
            job["model"], target.task, schema, pipeline, target.classes, _lineage(job, policy, split, [])
        )

    everything = known(split.fit, "to learn from", MIN_FIT_ROWS)
    search = Search(
        shell,
        task=target.task,
        n_classes=len(target.classes),
        families=policy.families,
        metric=policy.metric,
        seed=policy.seed,
        budget=budget,
        clock=clock,
        progress=progress,
    )
    return search.run(
        known(split.train, "to learn from", MIN_FIT_ROWS - MIN_VALIDATION_ROWS),
        known(split.validation, "to choose with", MIN_VALIDATION_ROWS),
        everything,
    )


def _model(
    job: Mapping[str, Any], policy: Policy, schema: Schema, target: Target, found: Found, split: Split
) -> Model:
    lineage = _lineage(job, policy, split, found.choice)
    return Model(job["model"], target.task, schema, found.pipeline, target.classes, lineage)


def _lineage(job: Mapping[str, Any], policy: Policy, split: Split, choice: list[dict[str, Any]]) -> Lineage:
    """Return all that it takes to train the same model again; the budget is no part of it, nor any time."""
    gate = {"min_rows": policy.gate.min_rows}
    return Lineage(
        dataset=job["dataset"],
        snapshot_upto_seq=job["snapshot"]["upto_seq"],
        snapshot_rows=job["rows"],
        snapshot_sha256=job["snapshot"]["sha256"],
        configuration={
            "label": job["label"],
            "task": job["task"],
            "families": list(policy.families),
            "metric": policy.metric,
            "known_seq": job["known_seq"],
            "gate": gate,
            "holdout": split.record,
            "choice": choice,
        },
        code_version=installed("trainyard"),
        seed=policy.seed,
        libraries={name: installed(name) for name in ("lightgbm", "numpy", "scikit-learn")},
    )


def _test(
    directory: Path,
    job: Mapping[str, Any],
    policy: Policy,
    model: Model,
    table: Table,
    target: Target,
    split: Split,
) -> tuple[GateReport, Model]:
    """Judge the model on the test rows; return the report, and the model with its metrics."""
    rows = np.flatnonzero(split.test & target.present)
    test = table.take(rows)
    labels = target.values[rows]
    answers = Predictor(model).predict_columns(test.columns)
    fit_labels = target.values[split.fit & target.learnable]
    prior = prior_of(target.task, len(target.classes), fit_labels, len(rows))
    theirs, note = None, job["champion_note"]
    if job["champion_version"] is not None and not note:
        try:
            theirs = champion.ask((directory / workdir.CHAMPION).read_bytes(), test, target)
        except champion.CannotCompareError as e:
            note = f"version {job['champion_version']} cannot be compared with: {e}; treated as if there were no champion"
    report = judge(
        target.task,
        labels,
        answers,
        theirs,
        prior,
        policy.gate,
        champion_version=job["champion_version"],
        champion_note=note,
    )
    np.save(directory / workdir.CHECK, answers[:_CHECK_ROWS], allow_pickle=False)
    np.save(directory / workdir.CHECK_ROWS, rows[:_CHECK_ROWS], allow_pickle=False)
    return report, replace(model, metrics=report.metrics.get("challenger", {}))


def _golden_rows(table: Table, fit: Any) -> list[dict[str, Any]]:
    """Return rows spread over the fit part, as Python values."""
    chosen = fit[np.unique(np.linspace(0, len(fit) - 1, _GOLDEN_ROWS).astype(np.int64))]
    kinds = {column.name: column.type for column in table.schema.features}
    return [{name: _plain(kinds[name], table.columns[name][row]) for name in kinds} for row in chosen.tolist()]


def _plain(kind: str, value: Any) -> Any:
    """Return one cell as the Python value that a caller of the model would give."""
    if kind in ("category", "text"):
        return value
    if kind in ("date", "timestamp"):
        if np.isnat(value):
            return None
        moment: datetime = value.astype("datetime64[us]").item()
        return moment.date() if kind == "date" else moment.replace(tzinfo=UTC)
    if np.isnan(value):
        return None
    return {"bool": bool, "int": int, "float": float}[kind](value)


def _leave(
    directory: Path, found: Found, report: GateReport, split: Split, target: Target, budget: Budget
) -> None:
    workdir.write_json(
        directory,
        workdir.REPORT,
        {
            "task": target.task,
            "trials": [
                {
                    "number": t.number,
                    "family": t.family,
                    "params": dict(t.params),
                    "metrics": dict(t.metrics),
                    "seconds": t.seconds,
                    "chosen": t.chosen,
                }
                for t in found.trials
            ],
            "holdout": split.record,
            "metrics": report.metrics.get("challenger", {}),
            "gate": report.as_dict(),
            "passed": report.passed,
            "budget_hit": budget.hit,
        },
    )
