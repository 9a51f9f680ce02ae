"""One way to part rows: by levels, truth values, ranges and months."""

from __future__ import annotations

import numpy as np
import pytest

from trainyard.metrics.slicing import by_part, cuts_of


def test_cuts_cover_every_row_once() -> None:
    """Levels, missing values, truth values, single numbers and months each part the rows; texts of few values too."""
    kinds = {"c": "category", "b": "bool", "n": "float", "t": "text", "d": "date"}
    values = {
        "c": np.array(["x", None, "y", "x"], dtype=object),
        "b": np.array([1.0, 0.0, np.nan, 1.0]),
        "n": np.array([1.0, np.nan, 3.0, 4.0]),
        "t": np.array(["long"] * 4, dtype=object),
        "d": np.array(["2024-02-29", "2024-03-01", "NaT", "2024-02-01"], dtype="datetime64[D]"),
    }
    told = {cut.column: [cut.levels[part] for part in cut.parts] for cut in cuts_of(kinds, values)}
    assert told == {
        "c": ["= x", "missing", "= y", "= x"],
        "b": ["true", "false", "missing", "true"],
        "n": ["= 1", "missing", "= 3", "= 4"],
        "t": ["= long"] * 4,
        "d": ["2024-02", "2024-03", "missing", "2024-02"],
    }


def test_ranges_have_about_as_many_rows_each() -> None:
    """Numbers of many values fall into five ranges whose words hold for their rows."""
    numbers = np.random.default_rng(0).normal(size=50_000)
    (cut,) = cuts_of({"n": "float"}, {"n": numbers})
    assert np.bincount(cut.parts).tolist() == pytest.approx([10_000] * 5, rel=0.05)
    assert [words.count("x") + words.startswith(("≤", ">")) for words in cut.levels[:-1]] == [1] * 5
    edge = float(cut.levels[0].removeprefix("≤ "))
    assert numbers[cut.parts == 0].max() <= edge + 1e-5
    assert numbers[cut.parts == 1].min() > edge - 1e-5


def test_cuts_of_strange_columns() -> None:
    """Constant, empty and many-levelled columns are no error; of many levels the most frequent are kept."""
    many = np.array([f"v{n}" for n in range(30)] + ["often"] * 30, dtype=object)
    values = {
        "empty": np.array([None] * 60, dtype=object),
        "nothing": np.full(60, np.nan),
        "constant": np.full(60, 7.0),
        "levels": many,
        "texts": np.array([f"text {n}" for n in range(60)], dtype=object),
        "months": np.datetime64("2020-01-15") + 31 * np.arange(60).astype("timedelta64[D]"),
    }
    kinds = ("category", "int", "int", "category", "text", "date")
    cuts = {cut.column: cut for cut in cuts_of(dict(zip(values, kinds, strict=True)), values)}
    told = {name: {cut.levels[part] for part in cut.parts if part >= 0} for name, cut in cuts.items()}
    assert (told["empty"], told["nothing"], told["constant"]) == ({"missing"}, {"missing"}, {"= 7"})
    levels = cuts["levels"]
    assert (len(levels.levels), levels.levels[0], int((levels.parts == -1).sum())) == (21, "= often", 11)
    assert "texts" not in cuts
    assert len(told["months"]) == 24
    assert max(told["months"]) == str(values["months"].max())[:7]


def test_more_columns_than_anybody_reads() -> None:
    """The first 200 columns are parted."""
    names = [f"c{n}" for n in range(300)]
    assert len(cuts_of(dict.fromkeys(names, "float"), {name: np.arange(30.0) for name in names})) == 200


def test_figures_of_parts() -> None:
    """Rows, means and standard errors are those of each part by itself; rows of no part count nowhere."""
    rng = np.random.default_rng(0)
    values, parts = rng.normal(size=500), rng.integers(0, 3, 500)
    (cut,) = cuts_of({"c": "category"}, {"c": np.array(list("abc"), dtype=object)[parts]})
    rows, means, errors = by_part(cut, values)
    assert rows.sum() == 500
    for place, words in enumerate(cut.levels[:-1]):
        inside = values[parts == "abc".index(words[-1])]
        assert (rows[place], means[place]) == (len(inside), pytest.approx(inside.mean()))
        assert errors[place] == pytest.approx(inside.std(ddof=1) / len(inside) ** 0.5)
