"""One table and one seed as files: what every method learns from and is asked, the same arrays for all.

``case.json`` says what there is; ``learn/<i>.npy`` and ``ask/<i>.npy`` hold the columns (codes into ``levels`` and
``more`` for categories, -1 where missing), ``learn/label.npy`` what is to be learnt. The labels of
the asked rows are not among them.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.models.splits import split

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.models.catalog import Dataset


@dataclass(frozen=True, eq=False)
class Case:
    """What the runner keeps of a case.

    Attributes:
        kind: the label's type.
        levels: the classes by name, () for regression.
        learnt: labels of the learnt rows: class indexes, or values.
        truth: labels of the asked rows.
    """

    directory: Path
    task: str
    kind: str
    levels: tuple[str, ...]
    learnt: npt.NDArray[Any]
    truth: npt.NDArray[Any]

    @property
    def classes(self) -> int:
        """Number of classes, 0 for regression."""
        return len(self.levels)


@dataclass(frozen=True, eq=False)
class _Values:
    """A column of a table; ``levels`` of a category, else empty."""

    name: str
    kind: str
    values: npt.NDArray[Any]
    levels: tuple[str, ...] = ()


def build(dataset: Dataset, seed: int, directory: Path) -> Case:
    """Write the case of ``dataset`` and ``seed`` into ``directory``."""
    table = _read(dataset)
    label = table.pop(dataset.label)
    learn, ask = split(dataset.split, label.values, seed, classes=dataset.task != "regression")
    described = []
    for part in ("learn", "ask"):
        (directory / part).mkdir(parents=True)
    for number, column in enumerate(table.values()):
        there, asked, levels, more = _parts(column, learn, ask)
        np.save(directory / "learn" / f"{number}.npy", there)
        np.save(directory / "ask" / f"{number}.npy", asked)
        described.append({"name": column.name, "type": column.kind, "levels": levels, "more": more})
    np.save(directory / "learn" / "label.npy", label.values[learn])
    about = {"task": dataset.task, "seed": seed, "classes": label.levels, "columns": described}
    (directory / "case.json").write_text(json.dumps(about))
    return Case(directory, dataset.task, label.kind, label.levels, label.values[learn], label.values[ask])


def _read(dataset: Dataset) -> dict[str, _Values]:
    with dataset.prepared.open(newline="", encoding="utf-8") as content:
        header, *rows = csv.reader(content)
    columns = (_column(head, list(cells)) for head, cells in zip(header, zip(*rows, strict=True), strict=True))
    return {column.name: column for column in columns}


def _column(head: str, cells: list[str]) -> _Values:
    name, _, kind = head.rpartition(":")
    if kind == "category":
        levels = tuple(sorted({cell for cell in cells if cell}))
        codes = {level: code for code, level in enumerate(levels)} | {"": -1}
        return _Values(name, kind, np.array([codes[cell] for cell in cells], dtype=np.int32), levels)
    numbers = {"": np.nan, "True": 1.0, "False": 0.0}
    values = [numbers[cell] if cell in numbers else float(cell) for cell in cells]
    return _Values(name, kind, np.array(values, dtype=np.float64))


def _parts(column: _Values, learn: Any, ask: Any) -> tuple[Any, Any, list[str], list[str]]:
    """Return the column of both parts, the levels that were learnt, and those that are only asked about."""
    if column.kind != "category":
        return column.values[learn], column.values[ask], [], []
    seen = np.unique(column.values[learn])
    seen = seen[seen >= 0]
    strange = np.setdiff1d(column.values[ask], [-1, *seen])
    order = [*seen.tolist(), *strange.tolist()]
    index = np.full(len(column.levels) + 1, -1, dtype=np.int32)
    index[order] = np.arange(len(order))
    levels = [column.levels[code] for code in order]
    return index[column.values[learn]], index[column.values[ask]], levels[: len(seen)], levels[len(seen) :]
