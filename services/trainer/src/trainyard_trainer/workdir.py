"""The private directory of one run: what the parent gives the training child, and what the child leaves.

``job.json`` says what to do, and which trials earlier runs have finished; ``seq``, ``first_seq``, ``unit`` (that only
without an event time) and one file for each column hold the snapshot as .npy (never pickled); ``c<i>.json`` holds the
levels of a text column; ``champion.msgpack`` is the model to beat, if there is one. Where ``original.msgpack`` is, the
job is to fit that model again; where ``job.json`` says for how long, it is to help another worker's search, whose
``screening.json`` (which columns are left out) is there already. Else the child leaves that as soon as it knows, and
in the end
``artifact.msgpack``, ``report.json``, ``check.npy`` (what its model answered to the first test rows) and
``check_rows.npy`` (which rows those are), or ``error.json``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.schema import Schema
from trainyard.snapshot import Snapshot, Texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

JOB, SCREENING, REPORT, ERROR = "job.json", "screening.json", "report.json", "error.json"
ARTIFACT, CHAMPION, ORIGINAL = "artifact.msgpack", "champion.msgpack", "original.msgpack"
CHECK, CHECK_ROWS = "check.npy", "check_rows.npy"
_PREFIX = "run-"


@contextmanager
def fresh(parent: Path) -> Iterator[Path]:
    """Yield a new directory that only this user can enter; it is removed at the end."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # mkdtemp makes it 0700
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove what a killed predecessor has left; call it at start, when no run of this trainer exists."""
    for leftover in parent.glob(f"{_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def write_json(directory: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write one JSON file."""
    (directory / name).write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def read_json(directory: Path, name: str) -> dict[str, Any]:
    """Read one JSON file."""
    content: dict[str, Any] = json.loads((directory / name).read_text(encoding="utf-8"))
    return content


def write_job(
    directory: Path,
    snapshot: Snapshot,
    *,
    model: str,
    dataset: str,
    label: str,
    settings: Mapping[str, Any],
    task: str = "auto",
    known_seq: int = 0,
    champion_version: int | None = None,
    champion_note: str = "",
    trials: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> dict[str, Any]:
    """Write the rows and ``job.json``; return what that says.

    Args:
        directory: the run's.
        snapshot: its rows.
        model, dataset, label: their names.
        settings: the policy's.
        task: auto, binary, multiclass or regression.
        known_seq: the last row that a version has learnt from, by the time rule.
        champion_version: the version of ``champion.msgpack``; None: there is none.
        champion_note: why there is a champion but no file of it.
        trials: what earlier runs of the request have finished.
        more: what else the child must know.
    """
    described = {
        "model": model,
        "dataset": dataset,
        "label": label,
        "task": task,
        "settings": dict(settings),
        "known_seq": known_seq,
        "rows": snapshot.rows,
        "snapshot": write_snapshot(directory, snapshot),
        "champion_version": champion_version,
        "champion_note": champion_note,
        "trials": list(trials),
        **more,
    }
    write_json(directory, JOB, described)
    return described


def write_snapshot(directory: Path, snapshot: Snapshot) -> dict[str, Any]:
    """Write the snapshot's arrays; return what ``job.json`` must say about them."""
    arrays: dict[str, Any] = {"seq": snapshot.seq, "first_seq": snapshot.first_seq}
    if snapshot.schema.event_time is None:  # the time rule has no use for units, and they take time
        arrays["unit"] = snapshot.unit
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array, allow_pickle=False)
    for index, column in enumerate(snapshot.schema.columns):
        values = snapshot.columns[column.name]
        if isinstance(values, Texts):
            levels = json.dumps(values.levels)
            (directory / f"c{index}.json").write_text(levels, encoding="utf-8")
            values = values.codes
        np.save(directory / f"c{index}.npy", values, allow_pickle=False)
    return {"schema": snapshot.schema.to_dict(), "upto_seq": snapshot.upto_seq, "sha256": snapshot.sha256}


def read_snapshot(directory: Path, described: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot that :func:`write_snapshot` wrote; the arrays are mapped from the files."""

    def load(name: str) -> Any:
        return np.load(directory / f"{name}.npy", allow_pickle=False, mmap_mode="r")

    schema = Schema.from_dict(described["schema"])
    columns: dict[str, Any] = {}
    for index, column in enumerate(schema.columns):
        values = load(f"c{index}")
        if column.type in ("category", "text"):
            levels = json.loads((directory / f"c{index}.json").read_text(encoding="utf-8"))
            values = Texts(values, tuple(levels))
        columns[column.name] = values
    return Snapshot(
        schema=schema,
        upto_seq=described["upto_seq"],
        seq=load("seq"),
        first_seq=load("first_seq"),
        columns=columns,
        sha256=described["sha256"],
        known_unit=load("unit") if schema.event_time is None else None,
    )
