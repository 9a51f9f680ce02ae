"""Thresholds that other libraries compare in float32, moved to where a comparison in float64 goes the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def at_most_in_double(thresholds: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the largest doubles that, rounded to float32, are at most ``thresholds``; all of them finite.

    A double x then satisfies ``x <= result`` in float64 exactly when ``float32(x) <= threshold``.
    """
    given = np.asarray(thresholds, dtype=np.float64)
    with np.errstate(over="ignore"):
        below = given.astype(np.float32)
        below = np.where(below > given, np.nextafter(below, np.float32(-np.inf)), below)
    return _last_rounded_to(below)


def below_in_double(thresholds: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the largest doubles that, rounded to float32, are less than the float32 ``thresholds``.

    A double x then satisfies ``x <= result`` in float64 exactly when ``float32(x) < threshold``.
    """
    given = np.asarray(thresholds, dtype=np.float32)
    with np.errstate(over="ignore"):
        below = np.nextafter(given, np.float32(-np.inf))
    return _last_rounded_to(below)


#: Half way from the largest float32 to where the next one would be: from here on doubles are rounded to infinity.
_OVERFLOW = (float(np.finfo(np.float32).max) + 2.0**128) / 2


def _last_rounded_to(singles: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the largest double that is rounded to each of ``singles``; of infinity the largest that is not."""
    lowest = np.isneginf(singles)
    singles = np.clip(singles, np.finfo(np.float32).min, np.finfo(np.float32).max)
    with np.errstate(over="ignore"):
        above = np.nextafter(singles, np.float32(np.inf)).astype(np.float64)
    above = np.where(np.isinf(above), 2.0**128, above)
    middle = (singles.astype(np.float64) + above) / 2  # exact: a double has the bits for it
    to_single = singles.view(np.uint32) % 2 == 0  # the middle is rounded to the even neighbour
    return np.where(lowest, -_OVERFLOW, np.where(to_single, middle, np.nextafter(middle, -np.inf)))
