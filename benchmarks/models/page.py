"""The table of a budget as Markdown, with what it takes to repeat them."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.models.table import OURS, RIVAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.models.catalog import Dataset
    from benchmarks.models.table import Row, Table

_HEAD = """# Accuracy within {budget:g} s

Written by `{command}` at commit {commit}; {seeds} seed(s) a table.

Each method runs in a process of its own on one thread; the wall clock is taken from outside, start included, and a
method that is not done after twice the budget is ended with what it has (nothing: it counts as the prior). Ours is the
trainer's own path with its default settings, answered by the artifact in numpy; the peers have their own defaults
(FLAML: its AutoML with `time_budget` as much as is left after its start). The rows that are asked take the place of
the trainer's hold-out, which is cut down to 30 of the rows that are learnt from. Tables, splits and metric:
`benchmarks/models/datasets.toml`. Figures are the mean over the seeds ± its standard error, log-loss or RMSE: less is
better, and the best of a row is bold.
"""


def page(table: Table, results: Sequence[dict[str, Any]], listed: dict[str, Dataset], about: dict[str, str]) -> str:
    """Return the whole page.

    Args:
        results: those that the table is made of.
        about: command, commit and seeds.
    """
    head = _HEAD.format(budget=table.budget, **about)
    return f"{head}\n{_figures(table, listed)}\n{verdict(table)}\n{_times(results)}"


def verdict(table: Table) -> str:
    """Return the two demands and whether they hold, as a list."""
    if not table.rows:
        return "- nothing complete to judge\n"
    ranks = ", ".join(f"{method} {rank:.2f}" for method, rank in table.mean_ranks.items())
    lost = [_lost(row) for row in table.rows if row.lost]
    known = all(math.isfinite(row.behind_error) for row in table.rows)
    where = f"**no**: {', '.join(lost)}" if lost else "**yes**" if known else "not to be told from one seed"
    lines = [
        f"- mean rank best of all: **{'yes' if table.leads else 'no'}** ({ranks})",
        f"- nowhere worse than FLAML by more than the seeds' standard error of the difference: {where}",
    ]
    if table.partial:
        lines.append(f"- not complete, so left out: {', '.join(table.partial)}")
    return "\n".join(lines) + "\n"


def _lost(row: Row) -> str:
    return f"{row.dataset} by {row.behind:.3g} ± {row.behind_error:.3g}"


def _figures(table: Table, listed: dict[str, Dataset]) -> str:
    methods = list(table.mean_ranks)
    lines = _line(["table", "metric", *methods, f"rank of {OURS}", f"{OURS} - {RIVAL}"])
    lines += _line(["---"] * (len(methods) + 4))
    for row in table.rows:
        cells = [_cell(row, method) for method in methods]
        apart = f"{row.behind:+.3g} ± {row.behind_error:.2g}"
        lines += _line([row.dataset, listed[row.dataset].metric, *cells, f"{row.ranks[OURS]:g}", apart])
    lines += _line(["mean rank", "", *(f"{rank:.2f}" for rank in table.mean_ranks.values()), "", ""])
    return lines


def _cell(row: Row, method: str) -> str:
    cell = row.cells[method]
    best = cell.mean == min(other.mean for other in row.cells.values())
    text = f"**{cell.mean:.5g}**" if best else f"{cell.mean:.5g}"
    return f"{text} ± {cell.error:.2g}" + ("" if cell.auc is None else f" (AUC {cell.auc:.3f})")


def _times(results: Sequence[dict[str, Any]]) -> str:
    """Return what the wall clock has said of each method."""
    lines = _line(["wall clock", "median s", "most s", "over the budget", "cut off", "failed"])
    lines += _line(["---"] * 6)
    for method in dict.fromkeys(r["method"] for r in results):
        of_method = [r for r in results if r["method"] == method]
        seconds = [r["seconds"] for r in of_method]
        over = sum(r["seconds"] > r["budget"] for r in of_method)
        ends = [sum(r["ended"] == end for r in of_method) for end in ("cut off", "failed")]
        lines += _line([method, f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}", f"{over}", *map(str, ends)])
    load = statistics.median([r["load"] for r in results] or [0.0])
    jobs = max((r["jobs"] for r in results), default=1)
    return f"{lines}\nAt most {jobs} run(s) at the same time; load of the machine: median {load:.1f}.\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"
