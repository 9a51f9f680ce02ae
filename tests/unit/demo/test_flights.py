"""The demo's table on the real year: what it holds, what it must not hold, and that it is worth learning from."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pytest

from trainyard_demo.data import source
from trainyard_demo.data.flights import EVENT_TIME, FEATURES, KEY, LABEL, Flights, build
from trainyard_demo.errors import DemoError
from trainyard_demo.figures import auc, log_loss

#: known only after the cut, or harmful: none of them may be a column
_FORBIDDEN = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum", "month", "day", "year", "date"}


@pytest.fixture(scope="module")
def raw() -> source.Source:
    """The package's files."""
    return source.read()


@pytest.fixture(scope="module")
def flights(raw: source.Source) -> Flights:
    """The table of the whole year."""
    return build(raw)


def test_columns(flights: Flights) -> None:
    """Key, event time, features and label are there, in this order, and nothing that leaks."""
    assert tuple(flights.columns) == (KEY, EVENT_TIME, *FEATURES, LABEL)
    assert not _FORBIDDEN & set(flights.columns)


def test_every_flight_that_arrived_is_there_once(flights: Flights) -> None:
    """336,776 flights less 9,430 that were cancelled or diverted; keys are distinct; order is by departure."""
    assert (len(flights), flights.left_out) == (327_346, 9_430)
    assert len(np.unique(flights.columns[KEY])) == len(flights)
    assert (flights.columns[EVENT_TIME][1:] >= flights.columns[EVENT_TIME][:-1]).all()
    assert 0.23 < flights.columns[LABEL].mean() < 0.24


def test_features_do_not_change_when_the_future_does(raw: source.Source, flights: Flights) -> None:
    """All that happens after a moment may be different: features of flights with their cut before it stay equal."""
    moment = "2013-06-15T12:00:00Z"
    scheduled = source.minutes(raw.flights["time_hour"]) + raw.flights["sched_dep_time"].astype(int) % 100
    left_at = scheduled + source.numbers(raw.flights["dep_delay"])
    changed = dict(raw.flights)
    changed["dep_delay"] = np.where(
        left_at > source.minutes(np.array([moment])), "777", raw.flights["dep_delay"]
    )  # NaN, a flight that never left, is not later
    weather = dict(raw.weather)
    weather["temp"] = np.where(raw.weather["time_hour"] > moment, "-40", raw.weather["temp"])
    other = build(source.Source(changed, weather, raw.planes))
    # Two hours of notice: flights scheduled until 14:00 were asked about at 12:00 at the latest.
    same = flights.columns[EVENT_TIME] <= "2013-06-15T14:00:00Z"
    for name in FEATURES:
        assert np.array_equal(flights.columns[name][same], other.columns[name][same], equal_nan=_floats(flights, name))
    assert not np.array_equal(flights.columns["recent_delay"], other.columns["recent_delay"], equal_nan=True)


def test_samples(flights: Flights) -> None:
    """A sample is reproducible, another with another seed, in order, of one month, None where a value is missing."""
    first, again, other = (flights.sample(2, 500, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 500
    assert [row[EVENT_TIME] for row in first] == sorted(row[EVENT_TIME] for row in first)
    assert {row[KEY][:7] for row in first} == {"2013-02"}
    assert any(row["plane_maker"] is None for row in first)
    assert {type(row[LABEL]) for row in first} == {bool}


def test_honest_features_predict_lateness(flights: Flights) -> None:
    """Trained on January to September, tested on the rest, the table gives the AUC that honest features can."""
    is_text = {name: flights.columns[name].dtype.kind == "U" for name in FEATURES}
    texts = [index for index, text in enumerate(is_text.values()) if text]
    columns = [
        np.unique(flights.columns[name], return_inverse=True)[1] if text else flights.columns[name]
        for name, text in is_text.items()
    ]
    rows = np.stack(columns, axis=1).astype(np.float64)
    label, early = flights.columns[LABEL], flights.month <= 9
    model = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 0, "deterministic": True},
        lightgbm.Dataset(rows[early], label[early], categorical_feature=texts),
        num_boost_round=60,
    )
    probability = np.asarray(model.predict(rows[~early]))
    assert 0.70 < auc(label[~early], probability) < 0.75
    assert 0.44 < log_loss(label[~early], probability) < 0.49


def test_the_page_names_every_feature() -> None:
    """docs/demo.md says of each feature why it is known two hours before departure."""
    page = (Path(__file__).parents[3] / "docs" / "demo.md").read_text(encoding="utf-8")
    assert [name for name in FEATURES if f"`{name}`" not in page] == []


def test_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the data the demo names the command that brings it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(DemoError, match="make demo"):
        source.find()


def _floats(flights: Flights, name: str) -> bool:
    return flights.columns[name].dtype.kind == "f"
