"""The joins behind the features (pure numpy): each answers "what was known at the cut", two hours before departure.

Times are whole minutes since 1970 in UTC. All of them are binary searches in one sorted array: the group (an airport,
an airline at an airport) is packed above the minutes, so that one search serves every group at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Strings = NDArray[np.str_]

#: a prediction is made this long before the scheduled departure
NOTICE_MINUTES = 120
#: departures of the last three hours before the cut make up the delay features
WINDOW_MINUTES = 180
#: a weather report older than this says nothing about the weather now
STALE_MINUTES = 360
#: more minutes than any time here (year 2105), so that groups do not overlap
_SPAN = 1 << 26


def codes(*columns: Strings) -> Integers:
    """Number the distinct combinations of the columns: equal rows get equal numbers from 0."""
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        levels, inverse = np.unique(column, return_inverse=True)
        combined = combined * len(levels) + inverse
    return np.unique(combined, return_inverse=True)[1].astype(np.int64)


def recent_delay(group: Integers, left_at: Integers, delay: Floats, cut: Integers) -> Floats:
    """Return for each flight the mean delay of its group's flights that left in the three hours up to its cut.

    Args:
        group: number of the group, per flight.
        left_at: when the flight really left; only read where ``delay`` is known.
        delay: minutes behind the timetable at departure, NaN for a flight that never left.
        cut: when the question is asked; flights that left later are not known yet.

    Returns:
        Minutes; NaN where no flight of the group left in the window.
    """
    gone = ~np.isnan(delay)
    when = group[gone] * _SPAN + left_at[gone]
    order = np.argsort(when, kind="stable")
    when = when[order]
    total = np.concatenate(([0.0], np.cumsum(delay[gone][order])))
    asked = group * _SPAN + cut
    upto = np.searchsorted(when, asked, side="right")
    since = np.searchsorted(when, asked - WINDOW_MINUTES, side="right")
    count = upto - since
    return np.where(count > 0, (total[upto] - total[since]) / np.maximum(count, 1), np.nan)


def newest_report(place: Integers, reported_at: Integers, asked_place: Integers, cut: Integers) -> Integers:
    """Return for each question the index of the newest report of the place at or before the cut.

    Returns:
        Indexes into the reports; -1 where there is none, or none younger than six hours.
    """
    when = place * _SPAN + reported_at
    order = np.argsort(when, kind="stable")
    asked = asked_place * _SPAN + cut
    position = np.searchsorted(when[order], asked, side="right") - 1
    found = order[np.maximum(position, 0)]
    age = asked - when[found]  # of another place: negative or a multiple of the span
    return np.where((position >= 0) & (age >= 0) & (age <= STALE_MINUTES), found, -1)


def lookup(keys: Strings, asked: Strings) -> Integers:
    """Return for each asked key its index in ``keys`` (distinct), -1 where it is not among them."""
    order = np.argsort(keys, kind="stable")
    position = np.minimum(np.searchsorted(keys[order], asked), len(keys) - 1)
    found = order[position]
    return np.where(keys[found] == asked, found, -1)


def count_alike(*columns: Strings) -> Integers:
    """Return for each row how many rows have the same values in these columns (itself included)."""
    group = codes(*columns)
    return np.bincount(group)[group].astype(np.int64)
