"""From noted results to the table: means over the seeds, ranks, and the verdict against FLAML. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OURS, RIVAL = "ours", "flaml"


@dataclass(frozen=True)
class Cell:
    """A method on a table: mean over the seeds of the metric (less is better), its standard error, and the AUC."""

    mean: float
    error: float
    auc: float | None


@dataclass(frozen=True)
class Row:
    """A table's cells by method, their ranks (1 is best, ties share), and ours minus FLAML over the same seeds."""

    dataset: str
    cells: dict[str, Cell]
    ranks: dict[str, float]
    behind: float
    behind_error: float

    @property
    def lost(self) -> bool:
        """True where ours is worse than FLAML by more than the standard error of the difference over the seeds."""
        return self.behind > self.behind_error


@dataclass(frozen=True)
class Table:
    """All complete tables of one budget; ``partial`` names those that lack a run."""

    budget: float
    rows: tuple[Row, ...]
    partial: tuple[str, ...]

    @property
    def mean_ranks(self) -> dict[str, float]:
        """Mean rank by method, best first."""
        methods = self.rows[0].ranks if self.rows else {}
        means = {method: statistics.fmean(row.ranks[method] for row in self.rows) for method in methods}
        return dict(sorted(means.items(), key=lambda item: item[1]))

    @property
    def leads(self) -> bool:
        """True when no other method has as good a mean rank as ours."""
        ranks = self.mean_ranks
        return bool(ranks) and all(ranks[OURS] < rank for method, rank in ranks.items() if method != OURS)


def tabulate(
    results: Iterable[dict[str, Any]], budget: float, datasets: Sequence[str], methods: Sequence[str], seeds: int
) -> Table:
    """Return the table of one budget over the first ``seeds`` seeds.

    Args:
        results: noted results, of one state of the code each.
    """
    found = {(r["dataset"], r["method"], r["seed"]): r for r in results if r["budget"] == budget}
    rows, partial = [], []
    for dataset in datasets:
        runs = {method: [found.get((dataset, method, seed)) for seed in range(seeds)] for method in methods}
        if any(run is None for of_method in runs.values() for run in of_method):
            partial.append(dataset)
        else:
            rows.append(_row(dataset, {m: [run for run in of if run is not None] for m, of in runs.items()}))
    return Table(budget, tuple(rows), tuple(partial))


def _row(dataset: str, runs: dict[str, list[dict[str, Any]]]) -> Row:
    values = {method: [run["metric"] for run in of_method] for method, of_method in runs.items()}
    cells = {
        method: Cell(
            statistics.fmean(values[method]),
            standard_error(values[method]),
            statistics.fmean(run["auc"] for run in of_method) if "auc" in of_method[0] else None,
        )
        for method, of_method in runs.items()
    }
    apart = [ours - theirs for ours, theirs in zip(values[OURS], values[RIVAL], strict=True)]
    ranks = ranked({method: cell.mean for method, cell in cells.items()})
    return Row(dataset, cells, ranks, statistics.fmean(apart), standard_error(apart))


def ranked(means: dict[str, float]) -> dict[str, float]:
    """Return each method's rank by its mean, 1 for the least; equal ones share the mean of their places."""
    ordered = sorted(means.values())
    return {m: ordered.index(v) + 1 + (ordered.count(v) - 1) / 2 for m, v in means.items()}


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; infinite for a single value, which tells nothing of it."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf
