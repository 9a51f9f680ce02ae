"""How the model does on parts of the rows: levels of categories and flags, ranges of numbers, months of dates."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.evaluation.plain import name, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from trainyard.evaluation.sample import Sample

    BoolArray = npt.NDArray[np.bool_]

#: With fewer rows a slice shows chance, not the model.
LEAST_ROWS = 20
MOST_SHOWN = 50
_LEVELS = 20
_MONTHS = 24
_BINS = 5
_MISSING = "missing"
#: A text with more distinct values is no category: its levels are single rows.
_MOST_TEXT_LEVELS = 50
_NORMAL_95 = 1.959964


def slices(sample: Sample) -> dict[str, Any]:
    """Return the slices with the highest loss first, ``shown`` of all ``found``.

    Each has ``column``, ``slice`` (in words), ``rows``, ``loss`` with a 95 % interval (``low``, ``high``: normal around
    the mean of its rows) and what else the gate measures (``metrics``). Of a column with many
    levels the commonest are looked at, of dates the latest months. Whoever looks at many slices finds bad ones by
    chance too: an interval that lies above ``loss`` of all rows is a hint, not a proof.
    """
    losses = sample.losses
    found = []
    for column, values in sample.columns.items():
        for words, mask in _parts(sample.kinds[column], values):
            rows = int(mask.sum())
            if rows < LEAST_ROWS or rows == sample.rows:
                continue
            mean, error = float(losses[mask].mean()), float(losses[mask].std(ddof=1)) / math.sqrt(rows)
            about = {"column": name(column), "slice": words, "rows": rows}
            found.append((mean, error, about, sample.figures(mask)))
    found.sort(key=lambda one: (-one[0], one[2]["column"], one[2]["slice"]))
    items = [
        {
            **about,
            "loss": number(mean),
            "low": number(max(0.0, mean - _NORMAL_95 * error)),
            "high": number(mean + _NORMAL_95 * error),
            "metrics": {metric: number(value) for metric, value in figures.items() if metric != "loss"},
        }
        for mean, error, about, figures in found[:MOST_SHOWN]
    ]
    overall = number(float(losses.mean())) if sample.rows else None
    return {"loss": overall, "items": items, "shown": len(items), "found": len(found), "least_rows": LEAST_ROWS}


def _parts(kind: str, values: npt.NDArray[Any]) -> Iterator[tuple[str, BoolArray]]:
    """Yield each part of a column in words and as a mask of its rows."""
    if values.dtype == object:
        yield from _levels(kind, values)
        return
    missing = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)
    yield _MISSING, missing
    if missing.all():
        return
    if values.dtype.kind == "M":
        yield from _months(values, missing)
    elif kind == "bool":
        yield from (("true", values == 1), ("false", values == 0))
    else:
        yield from _ranges(values, missing)


def _levels(kind: str, values: npt.NDArray[Any]) -> Iterator[tuple[str, BoolArray]]:
    codes: dict[Any, int] = {}
    coded = np.fromiter((codes.setdefault(value, len(codes)) for value in values.tolist()), np.int64, len(values))
    if kind == "text" and len(codes) > _MOST_TEXT_LEVELS:
        return
    counts = np.bincount(coded, minlength=len(codes))
    for level in sorted(codes, key=lambda level: (-counts[codes[level]], str(level)))[:_LEVELS]:
        yield _MISSING if level is None else f"= {name(level)}", coded == codes[level]


def _months(values: npt.NDArray[Any], missing: BoolArray) -> Iterator[tuple[str, BoolArray]]:
    months = values.astype("datetime64[M]")
    for month in np.unique(months[~missing])[-_MONTHS:]:
        yield str(month), months == month


def _ranges(values: npt.NDArray[Any], missing: BoolArray) -> Iterator[tuple[str, BoolArray]]:
    """Yield ranges of about as many rows each; of few distinct values each by itself."""
    present = values[~missing].astype(np.float64)
    distinct = np.unique(present)
    if len(distinct) <= _BINS:
        yield from ((f"= {value:g}", values == value) for value in distinct.tolist())
        return
    inner = np.unique(np.quantile(present, np.linspace(0.0, 1.0, _BINS + 1)[1:-1], method="lower"))
    edges = [-math.inf, *inner.tolist(), math.inf]
    for low, high in pairwise(edges):
        words = f"≤ {high:g}" if low == -math.inf else f"> {low:g}" if high == math.inf else f"{low:g} < x ≤ {high:g}"
        yield words, (values > low) & (values <= high)
