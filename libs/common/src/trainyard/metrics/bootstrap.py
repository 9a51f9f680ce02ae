"""What other samples of the same rows would have shown: the one bootstrap, of the gate and of reports. Pure numpy.

Rows are drawn with replacement by giving each a random weight (Efron 1979; Poisson weights: Hanley and MacGibbon 2006).
A figure of the rows is a :class:`Statistic`: a function of the weights. Those here are functions of a few sums over
rows (:class:`Sums`) or of counts of classes (:class:`Counts`), so a draw costs little more than its weights.

Above :data:`MOST_ROWS` rows a part of them is drawn from, and the distances to the part's own figure are shortened by
the root of its share (Bickel, Götze and van Zwet 1997): time has a bound, whatever the number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FloatArray = npt.NDArray[np.float64]
#: How often each row is drawn, shape (draws, rows).
Weights = npt.NDArray[np.float32]
#: How often rows are drawn: as often as about a second allows, within these bounds.
MOST_DRAWS, LEAST_DRAWS = 2_000, 400
_CELLS = 100_000_000
MOST_ROWS = _CELLS // LEAST_DRAWS
_BLOCK_CELLS = 250_000
#: The Poisson distribution of mean 1 in 256ths, with mean exactly 1: a random byte is a random weight.
_POISSON = np.repeat(np.arange(6, dtype=np.float32), [95, 93, 47, 16, 4, 1])
#: Two weights for two bytes at once, seen as one wide number: half as many look-ups.
_PAIRS = np.stack([np.tile(_POISSON, 256), np.repeat(_POISSON, 256)], axis=1).view(np.float64).ravel()


class Statistic(Protocol):
    """A figure of some rows; not finite where they have none."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    def exact(self) -> float:
        """Return the figure of the rows as they are."""

    def drawn(self, part: npt.NDArray[np.int64] | None) -> Callable[[Weights], FloatArray]:
        """Return the figure as a function of weights (draws, rows).

        The rows are in an order of the statistic's own, so that it does not matter in which they came; ``part`` names
        some of that order, None all.
        """


@dataclass(frozen=True, eq=False)
class Sums:
    """A function of sums over rows: ``columns`` (rows, k), and from sums (draws, k) to figures (draws,)."""

    columns: FloatArray
    value: Callable[[FloatArray], FloatArray]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns)

    def exact(self) -> float:
        """Return the figure of the rows as they are."""
        return float(self.value(self.columns.sum(axis=0, keepdims=True))[0])

    def drawn(self, part: npt.NDArray[np.int64] | None) -> Callable[[Weights], FloatArray]:
        """Return the figure as a function of weights (draws, rows)."""
        ordered = self.columns[np.lexsort(self.columns.T)]
        chosen = ordered if part is None else ordered[part]
        scale = np.abs(chosen).max(axis=0)  # what is squared may be beyond the range of single precision
        scale = np.where(scale > 0, scale, 1.0)
        single = (chosen / scale).astype(np.float32)
        return lambda weights: self.value((weights @ single).astype(np.float64) * scale)


@dataclass(frozen=True, eq=False)
class Counts:
    """A function of how often each class is true, answered, and both.

    Attributes:
        labels: shape (rows,): class indexes; negative: none of the classes.
        decided: of each model, shape (rows,), likewise.
        classes: how many there are.
        value: from the three counts (draws, classes) of one model to its figure (draws,). That of the second model, if
            there are two, is taken off that of the first.
    """

    labels: npt.NDArray[Any]
    decided: Sequence[npt.NDArray[Any]]
    classes: int
    value: Callable[[FloatArray, FloatArray, FloatArray], FloatArray]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def exact(self) -> float:
        """Return the figure of the rows as they are."""
        return float(self.drawn(None)(np.ones((1, self.rows), dtype=np.float32))[0])

    def drawn(self, part: npt.NDArray[np.int64] | None) -> Callable[[Weights], FloatArray]:
        """Return the figure as a function of weights (draws, rows)."""
        codes = np.stack([*self.decided[::-1], self.labels], axis=1)
        ordered = codes[np.lexsort(codes.T)]  # rows that are alike lie side by side: they are counted as one
        chosen = ordered if part is None else ordered[part]
        first = np.flatnonzero(np.append(True, (chosen[1:] != chosen[:-1]).any(axis=1)))
        alike = chosen[first]
        labels, models = alike[:, -1], alike[:, -2::-1].T

        def figure(weights: Weights) -> FloatArray:
            found = np.add.reduceat(weights, first, axis=1).astype(float)
            true = _by_class(found, labels, self.classes)
            each = [
                self.value(
                    true,
                    _by_class(found, said, self.classes),
                    _by_class(found * (said == labels), labels, self.classes),
                )
                for said in models
            ]
            return each[0] if len(each) == 1 else each[0] - each[1]

        return figure


def _by_class(found: FloatArray, of: npt.NDArray[Any], classes: int) -> FloatArray:
    """Return the sums (draws, classes) of counts (draws, n) whose classes are ``of``; negative ones are left out."""
    order = np.argsort(of, kind="stable")
    order = order[of[order] >= 0]
    sums = np.zeros((len(found), classes))
    if len(order):
        ranked = of[order]
        first = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        sums[:, ranked[first]] = np.add.reduceat(found[:, order], first, axis=1)
    return sums


def resampled(statistics: Mapping[str, Statistic], *, seed: int) -> dict[str, FloatArray]:
    """Return what each statistic is on many samples of its rows, of which all have as many; finite figures only.

    Deterministic, and the rows' order does not matter. Draws in which a statistic has no value, such as those of one
    class, do not count.
    """
    rows = max((each.rows for each in statistics.values()), default=0)
    if rows < 2:
        return {name: np.empty(0) for name in statistics}
    part, share = None, 1.0
    if rows > MOST_ROWS:
        part = np.sort(np.random.default_rng([seed, rows]).choice(rows, MOST_ROWS, replace=False))
        share = (MOST_ROWS / rows) ** 0.5
    found: dict[str, list[FloatArray]] = {name: [] for name in statistics}
    with np.errstate(all="ignore"):
        drawn = {name: each.drawn(part) for name, each in statistics.items()}
        taken = rows if part is None else MOST_ROWS
        for weights in weight_blocks(taken, seed):
            for name, figure in drawn.items():
                found[name].append(figure(weights))
        samples = {name: np.concatenate(each) for name, each in found.items()}
        if part is not None:
            once = np.ones((1, taken), dtype=np.float32)
            for name, each in samples.items():
                samples[name] = statistics[name].exact() + share * (each - drawn[name](once))
    return {name: each[np.isfinite(each)] for name, each in samples.items()}


def draws_for(rows: int) -> int:
    """Return how often so many rows are drawn."""
    return int(np.clip(_CELLS // max(rows, 1), LEAST_DRAWS, MOST_DRAWS))


def weight_blocks(rows: int, seed: int) -> Iterator[Weights]:
    """Yield the weights of all draws in blocks (draws, rows)."""
    generator, left = np.random.default_rng(seed), draws_for(rows)
    size = max(1, _BLOCK_CELLS // rows)
    while left > 0:
        draws = min(size, left)
        cells = draws * rows
        drawn = np.frombuffer(generator.bytes(cells + cells % 2), dtype="<u2")
        yield _PAIRS.take(drawn, mode="clip").view(np.float32)[:cells].reshape(draws, rows)
        left -= draws
