"""Parts of the hold-out in which a challenger must not be worse: levels of columns, quarters of numbers. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trainyard.schema import Column

FloatArray = npt.NDArray[np.float64]
_BINS = 4
#: More levels of one column than these are not looked at: the most frequent are.
_MOST_LEVELS = 20
_MOST_COLUMNS = 200
_REPORTED = 20
_EDGE_ROWS = 10_000


@dataclass(frozen=True, eq=False)
class Cut:
    """One column's way to part the rows: each row's part (an index into ``levels``, -1: none)."""

    column: str
    levels: tuple[str, ...]
    parts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Slice:
    """One part's losses: ``gain`` is the mean gain of its rows, ``upper`` what it surely is not above."""

    column: str
    level: str
    rows: int
    champion_loss: float
    gain: float
    upper: float
    passed: bool


@dataclass(frozen=True)
class Slices:
    """All parts with enough rows: how many there were, and those in which the challenger did worst, worst first."""

    compared: int
    worst: tuple[Slice, ...]

    @property
    def failed(self) -> tuple[Slice, ...]:
        """Those in which the challenger is surely worse than allowed."""
        return tuple(part for part in self.worst if not part.passed)


def cuts_of(columns: Iterable[Column], values: Mapping[str, npt.NDArray[Any]]) -> list[Cut]:
    """Return the cuts of a table by its columns of the types category, bool, int and float; at most 200 columns."""
    cuts = []
    for column in columns:
        if column.type in ("category", "bool"):
            cuts.append(_by_level(column.name, values[column.name], boolean=column.type == "bool"))
        elif column.type in ("int", "float"):
            cuts.append(_by_quarter(column.name, np.asarray(values[column.name], dtype=float)))
        if len(cuts) == _MOST_COLUMNS:
            break
    return cuts


def compare_slices(
    cuts: Sequence[Cut],
    *,
    challenger: FloatArray,
    champion: FloatArray,
    allowed: float,
    min_rows: int,
    confidence: float,
) -> Slices:
    """Hold the losses of each part with enough rows against each other.

    A part fails when the gain's upper bound is below ``-allowed`` times the champion's loss there. The bound is that of
    the normal distribution, Bonferroni-corrected for the number of parts: with all of them as good as before, one fails
    with a chance of at most 1 - ``confidence``.

    Args:
        cuts: of the same rows.
        challenger, champion: losses, shape (rows,).
        allowed: share of the champion's loss.
        min_rows: parts with fewer rows are not compared.
        confidence: of all parts together, one-sided.
    """
    found = list(_measured(cuts, challenger, champion, min_rows))
    margin = NormalDist().inv_cdf(1.0 - (1.0 - confidence) / max(len(found), 1))
    judged = []
    for column, level, rows, loss, gain, error in found:
        upper = gain + margin * error
        judged.append(Slice(column, level, rows, loss, gain, upper, upper >= -allowed * loss))
    judged.sort(key=lambda part: (part.passed, part.upper / part.champion_loss if part.champion_loss else 0.0))
    kept = max(_REPORTED, sum(not part.passed for part in judged))
    return Slices(len(judged), tuple(judged[:kept]))


def _measured(
    cuts: Sequence[Cut], challenger: FloatArray, champion: FloatArray, min_rows: int
) -> Iterator[tuple[str, str, int, float, float, float]]:
    """Yield column, level, rows, the champion's mean loss, mean gain and its standard error."""
    gains = champion - challenger
    for cut in cuts:
        inside = cut.parts >= 0
        parts, count = cut.parts[inside], len(cut.levels)
        rows = np.bincount(parts, minlength=count)
        safe = np.maximum(rows, 1)
        loss = np.bincount(parts, champion[inside], count) / safe
        gain = np.bincount(parts, gains[inside], count) / safe
        spread = np.bincount(parts, (gains[inside] - gain[parts]) ** 2, count)
        error = np.sqrt(spread / np.maximum(rows - 1, 1) / safe)
        for part in np.flatnonzero(rows >= max(min_rows, 2)).tolist():
            yield (
                cut.column,
                cut.levels[part],
                int(rows[part]),
                float(loss[part]),
                float(gain[part]),
                float(error[part]),
            )


def _by_level(name: str, values: npt.NDArray[Any], *, boolean: bool) -> Cut:
    if boolean:
        numbers = np.asarray(values, dtype=float)
        parts = np.where(np.isnan(numbers), 2, numbers == 1).astype(np.int64)
        return Cut(name, ("false", "true", "missing"), parts)
    present = np.array([value is not None for value in values], dtype=bool)
    parts = np.full(len(values), -1, dtype=np.int64)
    levels, inverse, counts = np.unique(values[present].astype(str), return_inverse=True, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_MOST_LEVELS]
    place = np.full(len(levels), -1, dtype=np.int64)
    place[most] = np.arange(len(most))
    parts[present] = place[inverse]
    parts[~present] = len(most)
    return Cut(name, (*(str(level)[:80] for level in levels[most]), "missing"), parts)


def _by_quarter(name: str, values: FloatArray) -> Cut:
    present = np.isfinite(values)
    some = values[present][:: max(1, int(present.sum()) // _EDGE_ROWS)]
    edges = np.unique(np.quantile(some, np.arange(1, _BINS) / _BINS)) if len(some) else np.empty(0)
    parts = np.where(present, np.searchsorted(edges, values, side="right"), len(edges) + 1).astype(np.int64)
    ends = [f"{edge:.6g}" for edge in edges]
    starts = ["", *(f"from {end}" for end in ends)]
    stops = [*(f"below {end}" for end in ends), ""]
    levels = [" ".join(filter(None, pair)) or "any" for pair in zip(starts, stops, strict=True)]
    return Cut(name, (*levels, "missing"), parts)
