"""Parts of the hold-out in which a challenger must not be worse (:mod:`trainyard.metrics.slicing`). Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from trainyard.metrics.slicing import by_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainyard.metrics.answers import FloatArray
    from trainyard.metrics.slicing import Cut

_REPORTED = 20


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
    for cut in cuts:
        rows, losses, _ = by_part(cut, champion)
        _, gains, errors = by_part(cut, champion - challenger)
        for part in np.flatnonzero(rows >= max(min_rows, 2)).tolist():
            numbers = (float(losses[part]), float(gains[part]), float(errors[part]))
            yield (cut.column, cut.levels[part], int(rows[part]), *numbers)
