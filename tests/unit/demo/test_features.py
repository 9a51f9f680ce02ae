"""The joins of the demo's table on small made-up days: nothing that was unknown at the cut gets in."""

from __future__ import annotations

import numpy as np

from trainyard_demo.data.features import codes, count_alike, lookup, newest_report, recent_delay


def test_recent_delay_is_the_mean_of_the_window() -> None:
    """Flights that left in (cut - 180, cut] count, those on the far edge do not, those on the near edge do."""
    group = np.array([0, 0, 0, 0])
    left_at = np.array([100, 101, 280, 281])
    delay = np.array([1.0, 10.0, 20.0, 1000.0])
    cut = np.array([280, 280, 280, 280])
    assert recent_delay(group, left_at, delay, cut).tolist() == [15.0] * 4


def test_recent_delay_knows_no_flight_that_has_not_left() -> None:
    """A flight scheduled long before the cut that really left after it is not known yet."""
    group = np.array([0, 0])
    left_at = np.array([500, 400])
    delay = np.array([300.0, 0.0])
    assert np.isnan(recent_delay(group, left_at, delay, np.array([399, 399]))).all()
    assert recent_delay(group, left_at, delay, np.array([499, 400])).tolist() == [0.0, 0.0]


def test_recent_delay_keeps_groups_apart_and_ignores_flights_that_never_left() -> None:
    """Another airport's flights and cancelled ones say nothing about this airport."""
    group = np.array([0, 1, 0])
    left_at = np.array([90, 95, 97])
    delay = np.array([5.0, 60.0, np.nan])
    assert recent_delay(group, left_at, delay, np.array([100, 100, 100])).tolist() == [5.0, 60.0, 5.0]


def test_newest_report_is_as_of_the_cut() -> None:
    """The newest report of the same place at or before the cut is taken, never a later one, never a stale one."""
    place = np.array([0, 0, 1, 0])
    reported = np.array([60, 0, 30, 120])
    asked = np.array([0, 0, 0, 1, 1, 0])
    cut = np.array([119, 60, 59, 29, 30, 120 + 361])
    assert newest_report(place, reported, asked, cut).tolist() == [0, 0, 1, -1, 2, -1]


def test_lookup_and_counts() -> None:
    """Missing keys give -1; equal rows are counted together, columns taken together."""
    assert lookup(np.array(["b", "a"]), np.array(["a", "c", "b"])).tolist() == [1, -1, 0]
    assert count_alike(np.array(["x", "x", "y"]), np.array(["1", "2", "1"])).tolist() == [1, 1, 1]
    assert codes(np.array(["x", "x", "y"]), np.array(["1", "1", "1"])).tolist() == [0, 0, 1]
