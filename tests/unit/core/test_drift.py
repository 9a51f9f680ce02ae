"""Profiles and effect sizes: against scipy, by property, and in windows that do and do not drift."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, norm, wasserstein_distance

from trainyard import drift
from trainyard.drift import Effect, columns_of, compare, profile_of
from trainyard.policy import MonitoringPolicy
from trainyard.schema import Column
from trainyard.testing.samples import FEATURES, Columns, logged, sample

POLICY = MonitoringPolicy()


def strengths(profile: dict[str, Any], columns: Columns) -> dict[str, float]:
    """Return the strength of each feature's drift by the default policy."""
    effects = compare(profile, columns_of(profile, logged(columns)))
    return {e.feature: e.strength(min_effect=POLICY.min_effect, min_distance=POLICY.min_distance) for e in effects}


@pytest.mark.parametrize("fitted", [1_000, 20_000])
@pytest.mark.parametrize("rows", [POLICY.min_rows, POLICY.window_rows])
def test_windows_without_drift(fitted: int, rows: int) -> None:
    """Of 200 windows of the distribution that was learnt at most two show any drift, none a strong one."""
    rng = np.random.default_rng(rows + fitted)
    profile = profile_of(FEATURES, sample(rng, fitted))
    found = [max(strengths(profile, sample(rng, rows)).values()) for _ in range(200)]
    assert sum(strength >= 1 for strength in found) <= 2
    assert max(found) < 2


@pytest.mark.parametrize("feature", ["normal", "heavy", "lognormal", "zeros", "weekday"])
@pytest.mark.parametrize("rows", [POLICY.min_rows, POLICY.window_rows])
def test_a_shift_of_one_standard_deviation(feature: str, rows: int) -> None:
    """One feature that moves by its standard deviation drifts strongly in the very next window, no other does."""
    rng = np.random.default_rng(7)
    fitted = sample(rng, 5_000)
    profile = profile_of(FEATURES, fitted)
    window = sample(rng, rows)
    window[feature] = window[feature] + np.nanstd(fitted[feature])
    found = strengths(profile, window)
    assert found.pop(feature) >= 2
    assert max(found.values()) < 1


def one(name: str, type_: str, fitted: Any, window: Any) -> Effect:
    """Return the effect of one feature; ``window`` as logged values."""
    values = np.array(fitted, dtype=object if type_ in {"text", "category"} else None)
    profile = json.loads(json.dumps(profile_of([Column(name, type_, "feature", nullable=True)], {name: values})))
    (effect,) = compare(profile, columns_of(profile, [{name: value} for value in window]))
    return effect


def test_the_index_is_the_formula() -> None:
    """The stability index is its formula over the profile's bins, less the mean of chi-square by the sizes."""
    rng = np.random.default_rng(1)
    fitted, window = rng.normal(size=4_000), rng.normal(0.5, 1, size=1_000)
    edges = np.quantile(fitted, np.arange(1, 10) / 10, method="inverted_cdf")
    cuts = np.concatenate([[-np.inf], edges, [np.inf]])
    # (a, b] bins: mirror the axis, as numpy's are [a, b)
    p = np.histogram(-window, -cuts[::-1])[0][::-1] + 0.5
    q = np.histogram(-fitted, -cuts[::-1])[0][::-1] + 0.5
    p, q = p / p.sum(), q / q.sum()
    raw = float(np.sum((p - q) * np.log(p / q)))
    effect = one("x", "float", fitted, window.tolist())
    assert effect.psi == pytest.approx(raw - 9 * (1 / 1_000 + 1 / 4_000), rel=1e-6)
    assert effect.psi_sure


def test_the_distance_is_scipys() -> None:
    """Distance plus what chance explains is scipy's Wasserstein distance in standard deviations."""
    rng = np.random.default_rng(2)
    fitted, window = rng.normal(3, 2, size=50_000), rng.normal(5, 2, size=50_000)
    exact = wasserstein_distance(fitted, window) / fitted.std()
    effect = one("x", "float", fitted, window.tolist())
    assert effect.distance == pytest.approx(exact, abs=0.02)
    assert effect.distance_sure


def test_the_band_is_scipys_chi_square() -> None:
    """The band of the index is chi-square's quantile, never below it and at most a tenth above."""
    z = 4.0
    for free in range(1, 101):
        ours = free * (1 - 2 / (9 * free) + z * math.sqrt(2 / (9 * free))) ** 3
        assert 1.0 <= ours / chi2.isf(norm.sf(z), free) <= 1.1


def test_two_samples_without_drift_are_within_chance() -> None:
    """On average chance explains what two samples differ by: less than the mean of chi-square is left."""
    rng = np.random.default_rng(3)
    fitted = rng.normal(size=2_000)
    found = [one("x", "float", fitted, rng.normal(size=200).tolist()) for _ in range(100)]
    assert np.mean([effect.psi for effect in found]) < 9 / 200
    assert np.mean([effect.distance for effect in found if effect.distance is not None]) < 0.05
    assert not any(effect.psi_sure for effect in found)


def test_levels() -> None:
    """Levels have index, total variation and new ones; a known level that vanishes is seen."""
    fitted = ["a"] * 500 + ["b"] * 300 + ["c"] * 200
    same = one("x", "category", fitted, ["a"] * 50 + ["b"] * 30 + ["c"] * 20)
    assert (same.psi, same.total_variation, same.new_levels, same.distance) == (0.0, pytest.approx(0.0), 0, None)
    moved = one("x", "category", fitted, ["a"] * 50 + ["b"] * 30 + ["d"] * 10 + ["e"] * 10)
    assert (moved.total_variation, moved.new_levels) == (pytest.approx(0.2), 2)
    assert moved.psi_sure
    assert moved.psi > POLICY.min_effect


def test_booleans_are_levels() -> None:
    """A flag is a level by its JSON name."""
    fitted = [1.0, 0.0] * 500
    effect = one("x", "bool", fitted, [True] * 180 + [False] * 20)
    assert (effect.kind, effect.total_variation) == ("level", pytest.approx(0.4))
    assert one("x", "bool", [*fitted, math.nan], [True, False] * 100).psi == 0.0


def test_free_text_does_not_drift() -> None:
    """Texts that are all different, in the profile as in the window, are what is expected."""
    effect = one("x", "text", [f"text {i}" for i in range(500)], [f"other {i}" for i in range(300)])
    assert not effect.psi_sure
    assert effect.new_levels is None
    assert effect.strength(min_effect=0.2, min_distance=0.3) == 0.0


def test_profiles_are_bounded() -> None:
    """However long the texts and however many, a profile stays small; what it does not name is the rest."""
    values = np.array([f"{i} " + "x" * 1_000 for i in range(5_000)] + ["short"] * 5, object)
    profile = profile_of([Column("x", "text", "feature", nullable=True)], {"x": values})
    assert len(json.dumps(profile)) < 20_000
    assert profile["features"]["x"]["complete"] is False


def test_many_rows_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile is made of at most so many rows, spread over all."""
    monkeypatch.setattr(drift, "MOST_ROWS", 100)
    profile = profile_of([Column("x", "int", "feature", nullable=True)], {"x": np.arange(1_000.0)})
    feature = profile["features"]["x"]
    assert (profile["rows"], feature["rows"]) == (1_000, 100)
    assert (feature["sketch"][0], feature["sketch"][-1]) == (0.0, 999.0)


def test_dates_never_count() -> None:
    """Dates and moments are measured, and as time always moves on they raise nothing."""
    days = np.arange("2026-01-01", "2026-04-11", dtype="datetime64[D]").astype("datetime64[us]")
    for moment in ("2026-08-01", "2026-08-01T10:00:00+00:00", "2026-08-01T10:00:00"):
        effect = one("x", "timestamp", days, [moment] * 200)
        assert (effect.kind, effect.psi_sure, effect.distance_sure) == ("time", True, True)
        assert effect.strength(min_effect=0.2, min_distance=0.3) == 0.0
    assert one("x", "date", days, ["no date", 7, None, "0001-01-01T00:00:00+14:00"] * 50).missing >= 0.75


@pytest.mark.parametrize("value", [None, "seven", [], {}, 10**400, 1e400, math.nan])
def test_what_is_no_number_is_missing(value: Any) -> None:
    """A logged value that is no finite number counts as missing, and missing values are an effect of their own."""
    effect = one("x", "float", np.linspace(0, 1, 500), [value] * 200)
    assert (effect.missing, effect.missing_change, effect.distance) == (1.0, 1.0, None)
    assert effect.strength(min_effect=0.2, min_distance=0.3) >= 2


@pytest.mark.parametrize(
    ("fitted", "window"),
    [([5.0] * 500, [5.0] * 200), ([math.nan] * 500, [None] * 200), ([], [1.0] * 200), ([1e308, -1e308] * 250, [1e308])],
)
def test_nothing_to_tell(fitted: list[float], window: list[Any]) -> None:
    """Constant, empty and overflowing columns have finite effects, and the same as fitted is no drift."""
    effect = one("x", "float", np.array(fitted, dtype=float), window)
    assert math.isfinite(effect.psi)
    assert effect.strength(min_effect=0.2, min_distance=0.3) == 0.0


def test_a_distance_beyond_the_float_range() -> None:
    """A window whose distance is no number any more has none, and is seen by its index."""
    effect = one("x", "float", np.linspace(0, 1, 500), [1.7e308] * 200)
    assert effect.distance is None
    assert effect.strength(min_effect=0.2, min_distance=0.3) >= 2


@pytest.mark.parametrize("value", [4.0, 6.0])
def test_a_constant_that_changes(value: float) -> None:
    """A column that was constant drifts when it moves to either side."""
    assert one("x", "float", np.full(500, 5.0), [value] * 200).strength(min_effect=0.2, min_distance=0.3) >= 2


cells = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([1]))


@settings(max_examples=60, deadline=None)
@example([-np.finfo(np.float64).max], [None], [(0.0, None)])
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60),
    st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=60),
    st.lists(st.tuples(cells, cells), min_size=1, max_size=60),
)
def test_any_values(numbers: list[float], levels: list[str | None], window: list[tuple[Any, Any]]) -> None:
    """Whatever was fitted and whatever is logged, the profile is JSON and every effect is a finite number."""
    fitted = {"x": np.array(numbers, dtype=float), "c": np.array(levels, dtype=object)}
    features = [Column("x", "float", "feature", nullable=True), Column("c", "text", "feature", nullable=True)]
    profile = json.loads(json.dumps(profile_of(features, fitted), allow_nan=False))
    effects = compare(profile, columns_of(profile, [{"x": x, "c": c} for x, c in window]))
    for effect in effects:
        assert math.isfinite(effect.strength(min_effect=0.2, min_distance=0.3))
        assert 0 <= effect.psi < 1e3
        assert 0 <= effect.missing <= 1
