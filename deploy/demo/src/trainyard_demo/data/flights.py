"""The finished table: one row per flight that arrived, with honest features, label, key and event time."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard_demo.data import source
from trainyard_demo.data.features import NOTICE_MINUTES, codes, count_alike, lookup, newest_report, recent_delay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainyard_demo.data.source import Columns, Source

    Array = NDArray[Any]

LABEL = "late"
KEY = "flight_id"
EVENT_TIME = "scheduled_departure"
#: minutes behind the timetable at the gate from which an arrival is called late
LATE_MINUTES = 15

#: feature -> what it says and why it is known two hours before departure
FEATURES = {
    "carrier": "airline (timetable)",
    "origin": "airport of departure (timetable)",
    "dest": "airport of arrival (timetable)",
    "distance": "miles (timetable)",
    "departure_hour": "scheduled departure, local hour (timetable)",
    "departure_minute": "scheduled departure, minute of the hour (timetable)",
    "arrival_hour": "scheduled arrival, local hour with its fraction (timetable)",
    "weekday": "day of the week, mon to sun (timetable)",
    "departures_same_hour": "flights scheduled at the same airport in the same hour (timetable)",
    "plane_year": "year the plane was built (register of planes)",
    "plane_maker": "who built the plane (register of planes)",
    "plane_seats": "seats of the plane (register of planes)",
    "temperature": "newest weather report two hours before departure, degrees Fahrenheit",
    "dew_point": "same report, degrees Fahrenheit",
    "humidity": "same report, per cent",
    "wind_direction": "same report, degrees",
    "wind_speed": "same report, miles per hour",
    "rain": "same report, inches in an hour",
    "pressure": "same report, millibar",
    "visibility": "same report, miles",
    "recent_delay": "mean delay of the airport's departures in the three hours before the cut, minutes",
    "recent_delay_carrier": "the same for the airline's departures at the airport, minutes",
}
_WEATHER = {"temperature": "temp", "dew_point": "dewp", "humidity": "humid", "wind_direction": "wind_dir",
            "wind_speed": "wind_speed", "rain": "precip", "pressure": "pressure", "visibility": "visib"}  # fmt: skip
_WEEKDAYS = np.array(["thu", "fri", "sat", "sun", "mon", "tue", "wed"])  # 1970-01-01 was a Thursday


@dataclass(frozen=True)
class Flights:
    """The table by columns, in order of scheduled departure.

    ``columns`` holds key, event time, features and label, one array per column and one entry per flight: strings,
    integers, booleans, or floats with NaN for what is missing ("" in a text column). ``month`` is the local calendar
    month, for the story's chapters only; it is no feature. ``left_out`` counts cancelled and diverted flights.
    """

    columns: dict[str, Array]
    month: Array
    left_out: int

    def __len__(self) -> int:
        return len(self.month)

    def sample(self, month: int, rows: int, seed: int) -> list[dict[str, Any]]:
        """Return at most ``rows`` flights of a month, drawn without regard to anything, in order of departure.

        Each is ``{column: value}`` with None for what is missing. The same seed gives the same flights.
        """
        of_month = np.flatnonzero(self.month == month)
        chosen = np.random.default_rng((seed, month)).permutation(of_month)[:rows]
        chosen.sort()
        values = [_values(column[chosen]) for column in self.columns.values()]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*values, strict=True)]


def build(raw: Source | None = None) -> Flights:
    """Make the table (a few seconds).

    The delay features look at all flights of the year, the sample comes later: what an airport's board shows does not
    depend on which flights the demo draws.

    Raises:
        DemoError: the data is not installed or cannot be read.
    """
    raw = raw or source.read()
    flights = raw.flights
    scheduled, local_day = _scheduled(flights)
    cut = scheduled - NOTICE_MINUTES
    columns: dict[str, Array] = {
        KEY: _identity(flights, local_day),
        EVENT_TIME: np.datetime_as_string(scheduled.astype("datetime64[m]"), unit="s", timezone="UTC"),
        **_timetable(flights, local_day),
        **_plane(flights, raw.planes),
        **_weather(flights, raw.weather, cut),
        **_delays(flights, scheduled, cut),
    }
    arrival_delay = source.numbers(flights["arr_delay"])
    columns[LABEL] = arrival_delay > LATE_MINUTES
    arrived = ~np.isnan(arrival_delay)
    order = np.flatnonzero(arrived)[np.argsort(scheduled[arrived], kind="stable")]
    month = flights["month"].astype(np.int64)
    return Flights(
        {name: column[order] for name, column in columns.items()}, month[order], int(len(month) - arrived.sum())
    )


def _scheduled(flights: Columns) -> tuple[Array, Array]:
    """Return the scheduled departure in UTC minutes and its local day in days since 1970."""
    scheduled = source.minutes(flights["time_hour"]) + flights["sched_dep_time"].astype(np.int64) % 100
    month, day = flights["month"].astype(np.int64), flights["day"].astype(np.int64)
    first_of_month = (np.datetime64("2013-01", "M") + (month - 1)).astype("datetime64[D]").astype(np.int64)
    return scheduled, first_of_month + day - 1


def _identity(flights: Columns, local_day: Array) -> Array:
    dates = np.datetime_as_string(local_day.astype("datetime64[D]"))
    parts = zip(dates.tolist(), *(flights[name].tolist() for name in ("carrier", "flight", "origin")), strict=True)
    return np.array(list(map("-".join, parts)))


def _timetable(flights: Columns, local_day: Array) -> dict[str, Array]:
    departure = flights["sched_dep_time"].astype(np.int64)
    arrival = flights["sched_arr_time"].astype(np.int64)
    return {
        "carrier": flights["carrier"],
        "origin": flights["origin"],
        "dest": flights["dest"],
        "distance": flights["distance"].astype(np.int64),
        "departure_hour": departure // 100,
        "departure_minute": departure % 100,
        "arrival_hour": np.round(arrival // 100 + arrival % 100 / 60, 2),
        "weekday": _WEEKDAYS[local_day % 7],
        "departures_same_hour": count_alike(flights["origin"], flights["time_hour"]),
    }


def _plane(flights: Columns, planes: Columns) -> dict[str, Array]:
    # The tail number itself stays out: it is missing only for cancelled flights, which gives them away.
    plane = lookup(planes["tailnum"], flights["tailnum"])
    return {
        "plane_year": _taken(source.numbers(planes["year"]), plane),
        "plane_maker": np.where(plane >= 0, planes["manufacturer"][plane], ""),
        "plane_seats": _taken(source.numbers(planes["seats"]), plane),
    }


def _weather(flights: Columns, weather: Columns, cut: Array) -> dict[str, Array]:
    place = codes(np.concatenate((flights["origin"], weather["origin"])))
    ours, theirs = place[: len(cut)], place[len(cut) :]
    report = newest_report(theirs, source.minutes(weather["time_hour"]), ours, cut)
    return {name: _taken(np.round(source.numbers(weather[raw]), 2), report) for name, raw in _WEATHER.items()}


def _delays(flights: Columns, scheduled: Array, cut: Array) -> dict[str, Array]:
    delay = source.numbers(flights["dep_delay"])
    left_at = scheduled + np.nan_to_num(delay).astype(np.int64)
    airport = codes(flights["origin"])
    airline = codes(flights["origin"], flights["carrier"])
    return {
        "recent_delay": np.round(recent_delay(airport, left_at, delay, cut), 2),
        "recent_delay_carrier": np.round(recent_delay(airline, left_at, delay, cut), 2),
    }


def _taken(column: Array, index: Array) -> Array:
    """Return ``column[index]`` with NaN where the index is -1."""
    return np.where(index >= 0, column[index], np.nan)


def _values(column: Array) -> list[Any]:
    """Return Python values, None for NaN and for the empty string; whole floats of counts and years as integers."""
    if column.dtype.kind == "f":
        return [None if isnan(value) else int(value) if value.is_integer() else value for value in column.tolist()]
    if column.dtype.kind == "U":
        return [value or None for value in column.tolist()]
    values: list[Any] = column.tolist()
    return values
