"""How far the rows of a window lie from those that a version was fitted on: effect sizes, never a bare p-value.

:func:`profile_of` sums up the fitted rows once, in bounded size; :func:`columns_of` reads a window of logged inputs;
:func:`compare` holds the window against the profile and returns one :class:`Effect` for each feature.

- Numbers and levels: the population stability index, ``sum((p - q) * ln(p / q))`` over bins (Lewis, "An Introduction to
  Credit Scoring", 1994; Siddiqi, "Credit Risk Scorecards", 2006, calls 0.1 to 0.25 a minor and more a major shift).
  Half a row is added to every bin on both sides (Krichevsky and Trofimov, 1981), so an empty one has a logarithm.
- Numbers: the Wasserstein-1 distance ``mean |F^-1(u) - G^-1(u)|`` in standard deviations of the profile.
- Levels: the total variation ``sum |p - q| / 2``, for people.

Two samples of one distribution differ too, small ones much. With m and n rows and B bins the index is about
``(1/m + 1/n)`` times chi-square with B - 1 degrees of freedom (Yurdakul, "Statistical Properties of the Population
Stability Index", 2018); the distance is about ``sqrt(2/pi * (1/m + 1/n)) * integral sqrt(F (1 - F))`` (del Barrio,
Giné and Matrán, "Central limit theorems for the Wasserstein distance", 1999). What chance explains on average is taken
off, and an effect counts only when it lies beyond the band that chance leaves once in a thousand windows, over all
features together (Bonferroni). Bins in which either side should have fewer than 5 rows are taken as one (Cochran,
1954).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trainyard.schema import Column

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

BINS = 10
SKETCH = 100
#: A profile names that many levels, those of no more characters; all others are the rest.
MOST_LEVELS = 100
LONGEST_LEVEL = 100
#: A profile is made of no more rows than this, evenly spread.
MOST_ROWS = 200_000
#: Chance leaves the band in this share of windows, over all features and both effects of each.
FAMILY_ERROR = 1e-3
_EXPECTED_ROWS = 5
_SMOOTHING = 0.5
_KINDS = {
    "int": "number",
    "float": "number",
    "date": "time",
    "timestamp": "time",
    "bool": "level",
    "category": "level",
    "text": "level",
}
_LEVELS_AT = (np.arange(SKETCH) + 0.5) / SKETCH


@dataclass(frozen=True)
class Effect:
    """How one feature of a window differs from the profile.

    Attributes:
        kind: ``number``, ``level``, or ``time`` (dates and moments: they always move on, so they raise no alarm).
        psi: population stability index, less what chance explains on average, not below 0.
        distance: Wasserstein-1 distance in standard deviations, less what chance explains; None where there is none
            (levels; a constant or empty feature).
        psi_sure, distance_sure: the effect is beyond the band that chance leaves.
        missing: share of the window's rows without a value; ``missing_change``: less the profile's share.
        total_variation: of the levels; None for numbers.
        new_levels: distinct levels that the fitted rows did not have; None when the profile does not know them all.
    """

    feature: str
    kind: str
    psi: float
    psi_sure: bool
    distance: float | None
    distance_sure: bool
    missing: float
    missing_change: float
    total_variation: float | None = None
    new_levels: int | None = None

    def strength(self, *, min_effect: float, min_distance: float) -> float:
        """Return the effect as a multiple of the least that counts: drift from 1; 0 for what chance explains."""
        if self.kind == "time":
            return 0.0
        by_psi = self.psi / min_effect if self.psi_sure else 0.0
        by_distance = self.distance / min_distance if self.distance_sure and self.distance is not None else 0.0
        return max(by_psi, by_distance)


def profile_of(features: Iterable[Column], columns: Mapping[str, Array]) -> dict[str, Any]:
    """Return the profile of fitted rows, ready for JSON.

    Args:
        features: name and type of each feature.
        columns: by name, all of one length: numbers and bools (NaN = missing), datetime64 (NaT), strings (None).
    """
    found: dict[str, Any] = {}
    rows = 0
    for column in features:
        values = columns[column.name]
        rows = len(values)
        if rows > MOST_ROWS:
            values = values[np.linspace(0, rows - 1, MOST_ROWS).astype(np.int64)]
        kind = _KINDS[column.type]
        of_values = _levels_profile(column.type, values) if kind == "level" else _numbers_profile(_numbers(values))
        found[column.name] = {"kind": kind, "type": column.type, "rows": len(values), **of_values}
    return {"v": 1, "rows": rows, "features": found}


def columns_of(profile: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> dict[str, Array]:
    """Return logged inputs as the columns that :func:`compare` reads; a value of another type counts as missing."""
    features = profile["features"]
    readers = {name: _READERS[feature["kind"]] for name, feature in features.items()}
    cells: dict[str, list[Any]] = {name: [] for name in features}
    for row in rows:
        for name, read in readers.items():
            cells[name].append(read(row.get(name)))
    return {
        name: np.array(cells[name], dtype=object if feature["kind"] == "level" else np.float64)
        for name, feature in features.items()
    }


def compare(profile: Mapping[str, Any], columns: Mapping[str, Array]) -> list[Effect]:
    """Return the effects of a window of at least one row, features in the profile's order."""
    features = profile["features"]
    error = FAMILY_ERROR / max(2 * len(features), 1)
    z = NormalDist().inv_cdf(1 - error)
    return [_compare_one(name, feature, columns[name], z) for name, feature in features.items()]


# --- the profile ---


def _numbers(values: Array) -> FloatArray:
    """Return the values as float64: datetimes as seconds since 1970, whatever is not finite as NaN."""
    if values.dtype.kind == "M":
        seconds = values.astype("datetime64[us]").astype(np.int64) / 1e6
        return np.where(np.isnat(values), np.nan, seconds)
    numbers = values.astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _numbers_profile(values: FloatArray) -> dict[str, Any]:
    present = values[~np.isnan(values)]
    if not len(present):
        return {"missing": 1.0 if len(values) else 0.0, "edges": [], "shares": [0.0], "sd": 0.0, "sketch": []}
    edges = np.unique(np.quantile(present, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    if present.min() == present.max():
        below = np.nextafter(edges[0], -np.inf) if edges[0] > -np.finfo(np.float64).max else edges[0]
        edges = np.unique([below, edges[0]])  # so that what lies below is seen as well
    with np.errstate(over="ignore", invalid="ignore"):
        sd = float(present.std())
    return {
        "missing": 1.0 - len(present) / len(values),
        "edges": edges.tolist(),
        "shares": (_counts(edges, present) / len(values)).tolist(),
        "sd": sd if math.isfinite(sd) else 0.0,
        "sketch": np.quantile(present, _LEVELS_AT, method="inverted_cdf").tolist(),
    }


def _levels_profile(type_: str, values: Array) -> dict[str, Any]:
    counts = Counter(_levels(type_, values))
    missing = counts.pop(None, 0)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [(level, count) for level, count in ranked[:MOST_LEVELS] if len(level) <= LONGEST_LEVEL]
    total = max(len(values), 1)
    return {
        "missing": missing / total,
        "levels": {level: count / total for level, count in named},
        "rest": (sum(count for _, count in ranked) - sum(count for _, count in named)) / total,
        "singles": sum(count == 1 for _, count in ranked) / total,
        "complete": len(named) == len(ranked),
    }


def _levels(type_: str, values: Array) -> list[Any]:
    if type_ != "bool" or values.dtype == object:
        return list(values.tolist())
    return [None if math.isnan(value) else _bool_name(value) for value in values.astype(np.float64).tolist()]


def _bool_name(value: float) -> str:
    return "true" if value else "false"


def _counts(edges: FloatArray, present: FloatArray) -> FloatArray:
    """Return how many values lie in each bin: up to the first edge, above it up to the second, ... above the last."""
    return np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1).astype(np.float64)


# --- a window's cells ---


def _number_cell(value: Any) -> float:
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return math.nan
        return number if math.isfinite(number) else math.nan
    return math.nan


def _time_cell(value: Any) -> float:
    if not isinstance(value, str):
        return math.nan
    try:
        moment = datetime.fromisoformat(value)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return aware.timestamp()
    except (ValueError, OverflowError):
        return math.nan


def _level_cell(value: Any) -> str | None:
    if value is None:
        return None
    return _bool_name(value) if isinstance(value, bool) else str(value)


_READERS: dict[str, Callable[[Any], Any]] = {"number": _number_cell, "time": _time_cell, "level": _level_cell}


# --- the comparison ---


def _compare_one(name: str, feature: Mapping[str, Any], values: Array, z: float) -> Effect:
    rows, of = len(values), feature["rows"]
    if feature["kind"] == "level":
        counts = Counter(values.tolist())
        missing = counts.pop(None, 0) / rows
        known = feature["levels"]
        seen = [float(counts.pop(level, 0)) for level in known]
        # Rows of levels that the profile never met are as frequent as its single ones (Good, 1953).
        unseen = feature["singles"] / max(1.0 - feature["missing"], feature["singles"], 1e-9)
        shares = [share * (1.0 - unseen) for share in (*known.values(), feature["rest"])]
        expected = [*shares[:-1], shares[-1] + feature["singles"], feature["missing"]]
        window = np.array([*seen, float(sum(counts.values())), missing * rows])
        new = len(counts) if feature["complete"] else None
        psi, sure, variation = _stability(np.array(expected), window, of, z)
        change = missing - feature["missing"]
        return Effect(name, "level", psi, sure, None, False, missing, change, variation, new)
    present = values[~np.isnan(values)]
    missing = 1.0 - len(present) / rows
    window = np.append(_counts(np.array(feature["edges"]), present), rows - len(present))
    psi, sure, _ = _stability(np.array([*feature["shares"], feature["missing"]]), window, of, z)
    distance, far = _distance(feature, present, z)
    return Effect(name, feature["kind"], psi, sure, distance, far, missing, missing - feature["missing"])


def _stability(expected: FloatArray, window: FloatArray, of: int, z: float) -> tuple[float, bool, float]:
    """Return the index beyond chance, whether it leaves the band, and the total variation.

    Args:
        expected: shape (bins,), shares of the profile's rows.
        window: shape (bins,), counts of the window's rows.
        of: rows of the profile.
        z: the band's normal quantile.
    """
    rows = float(window.sum())
    rare = expected * min(rows, of) < _EXPECTED_ROWS
    reference = np.append(expected[~rare], expected[rare].sum()) * of
    counts = np.append(window[~rare], window[rare].sum())
    used = (reference > 0) | (counts > 0)
    reference, counts = reference[used], counts[used]
    bins = len(counts)
    p = (counts + _SMOOTHING) / (rows + _SMOOTHING * bins)
    q = (reference + _SMOOTHING) / (reference.sum() + _SMOOTHING * bins)
    index = float(np.sum((p - q) * np.log(p / q)))
    variation = float(np.abs(counts / rows - reference / max(reference.sum(), 1.0)).sum() / 2)
    free = bins - 1
    if free < 1:
        return 0.0, False, variation
    chance = 1.0 / rows + 1.0 / max(of, 1)
    # Chi-square's quantile after Wilson and Hilferty (1931).
    band = free * (1 - 2 / (9 * free) + z * math.sqrt(2 / (9 * free))) ** 3
    return max(index - free * chance, 0.0), bool(index > band * chance), variation


def _distance(feature: Mapping[str, Any], present: FloatArray, z: float) -> tuple[float | None, bool]:
    """Return the distance beyond chance in standard deviations, and whether it leaves the band; None: there is none."""
    sd, sketch = feature["sd"], np.array(feature["sketch"])
    if not len(present) or sd <= 0.0:
        return None, False
    of = feature["rows"] * (1.0 - feature["missing"])
    mine = np.quantile(present, _LEVELS_AT, method="inverted_cdf")
    with np.errstate(over="ignore"):
        distance = float(np.mean(np.abs(mine - sketch))) / sd
        between = np.arange(1, SKETCH) / SKETCH
        weights = np.sqrt(between * (1 - between))
        # The greater of both: a rare far value that only one side has must not look certain.
        spread = max(float(np.sum(weights * np.diff(side))) for side in (sketch, mine)) / sd
    if not math.isfinite(distance) or not math.isfinite(spread):
        return None, False
    chance = math.sqrt(1.0 / len(present) + 1.0 / max(of, 1.0)) * spread
    return max(distance - math.sqrt(2 / math.pi) * chance, 0.0), bool(distance > z * chance)
