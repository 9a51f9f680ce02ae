"""The model card: everything a reader wants in order, whole without a report, and no user's text is markup in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard import card
from trainyard.card.document import Chart, Curve
from trainyard.card.markdown import escaped
from trainyard.card.svg import as_svg
from trainyard.evaluation import Sample, evaluate

NASTY = "<script>alert('x')</script> & | [a](http://b) `c` *d* \"e\"\n# f"


def report(task: str, text: str) -> dict[str, Any]:
    """Return the report of a hold-out whose names and levels are ``text``."""
    rng = np.random.default_rng(0)
    rows, width = 300, {"binary": 2, "multiclass": 3, "regression": 1}[task]
    columns = {text: rng.normal(size=rows), f"{text}2": np.array([text, None], dtype=object)[rng.integers(0, 2, rows)]}
    kinds = {text: "float", f"{text}2": "category"}
    if task == "regression":
        labels: Any = rng.normal(size=rows)
        answers: Any = labels + rng.normal(size=rows)
    else:
        answers = rng.dirichlet(np.ones(width), rows)
        labels = (answers.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, width - 1)
    classes = [] if task == "regression" else [f"{text}{i}" for i in range(width)]
    sample = Sample(task, classes, labels, answers, columns, kinds)
    return {
        **evaluate(sample, lambda _: answers[rng.permutation(rows)], lambda: True),
        "contributions": {"unit": "value", "rows": 50, "features": [{"feature": text, "mean": 0.25}], "cut": text},
        "data": {"features": 2, "time_column": text, "from": "2024-01-01", "upto": "2024-12-31"},
        "lineage": {
            "seed": 7,
            "code_version": "1",
            "libraries": {"numpy": "2"},
            "configuration": {"choice": [{"kind": "tree_ensemble", "params": {"rounds": 3}, "weight": 1.0}]},
        },
        "cost": {"seconds": 3.5, "rows": 900, "peak_memory_bytes": 200 << 20},
        "learning_curve": {
            "kind": "tree_ensemble",
            "loss": "log-loss",
            "points": [{"rows": 10, "loss": None, "learnt": 0.1}, {"rows": 900, "loss": 0.5, "learnt": 0.3}],
            "cut": "the time was up after 1 of 2 fits on fewer rows",
        },
        "left_out": [{"column": text, "reason": f"it says what {text} says"}],
    }


def answer(task: str = "binary", text: str = NASTY, *, reported: bool = True) -> dict[str, Any]:
    """Return what the API gives for a version."""
    check = {"name": "enough_rows", "value": 300.0, "threshold": 100.0, "passed": True, "words": text}
    version = {
        "version": 3,
        "request_id": "r",
        "run_id": "u",
        "artifact_key": "models/m/a.msgpack",
        "sha256": "ab" * 32,
        "size_bytes": 12345,
        "upto_seq": 1500,
        "snapshot_rows": 1500,
        "snapshot_hash": "cd" * 32,
        "holdout": {"rule": "time", "fit_rows": 1200, "test_rows": 300},
        "metrics": {"loss": 0.5, "roc_auc": 0.7, "parity": 2.34567e-16},
        "gate": {"summary": f"passed: {text}", "promotion": "promoted", "checks": [check]},
        "aliases": ["champion"],
        "not_reproducible": None,
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    trial = {"kind": "tree_ensemble", "params": {"rounds": 3}, "metrics": {"loss": 0.4}, "seconds": 1.5, "chosen": True}
    return {
        "model": {"name": "m", "dataset": "d", "label": text, "task": task},
        "version": version,
        "run": {"instance_type": "c7i.large", "usd_per_hour": 0.09, "cost_usd": 0.0001},
        "trials": [{**trial, "metrics": {"loss": 0.6}, "kind": "linear", "chosen": False}, trial],
        "report": report(task, text) if reported else None,
    }


class Page(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


_TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "section", "p", "table", "tr", "th", "td",
         "svg", "path", "line", "polyline", "circle", "text"}  # fmt: skip


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("reported", [True, False])
def test_the_page_is_whole_and_needs_nothing_else(task: str, *, reported: bool) -> None:
    """Only plain elements, no script, no address to load from; the text of users is text."""
    page = card.as_html(card.card_of(answer(task, reported=reported)))
    read = Page(page)
    assert set(read.tags) <= _TAGS
    assert not {name for name in read.attributes if name.startswith("on") or name in {"href", "src", "style"}}
    assert NASTY in read.text
    for title in ("What it predicts", "Data", "How it was chosen", "Metrics", "Gate", "Training cost", "Lineage"):
        assert title in read.text
    assert ("svg" in read.tags) is reported
    assert "Content-Security-Policy" in page


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("reported", [True, False])
def test_markdown_has_the_same_sections(task: str, *, reported: bool) -> None:
    """Every line of a table has the cells of its head, whatever names columns and levels have."""
    text = card.as_markdown(card.card_of(answer(task, reported=reported)))
    assert text.startswith("# Model m, version 3\n")
    assert "<script" not in text
    assert "[a](" not in text
    width = 0
    for line in text.splitlines():
        cells = line.replace("\\|", "").count("|") - 1
        if line.startswith("|"):
            width = width or cells
            assert cells == width, line
        else:
            width = 0
    if reported:
        assert "## Limits" in text
        assert "Columns that were left out:" in text


def test_the_card_tells_what_matters() -> None:
    """Trials by loss, intervals, cost with the price, and how to make the model again are in the words of the card."""
    text = card.as_markdown(card.card_of(answer(text="late")))
    places = [text.index(words) for words in ("| 1 | tree\\_ensemble |", "| 2 | linear |")]
    assert places == sorted(places)
    for words in (
        "95 % of 2,000 bootstrap samples",
        "| US dollars per hour | 0.09 |",
        "| peak memory of the training process, MiB | 200 |",
        "| fitted | tree\\_ensemble (rounds 3), weight 1 |",
        "| seed | 7 |",
        "Verdict: passed: late.",
        "On these rows its answers are at most 2.346e-16 from those of the libraries that trained it.",
        "| late | it says what late says |",
        "| late | 0.25 |",
        "| 900 | 0.5 | 0.3 |",
        "more rows would help. The time was up after 1 of 2 fits on fewer rows.",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        ({"kind": "temperature", "temperature": 1.25}, "temperature (temperature 1.25)"),
        ({"kind": "platt", "slope": 0.9, "intercept": -0.5}, "platt (slope 0.9, intercept -0.5)"),
        ({"kind": "isotonic", "at": [0.1, 0.2, 0.9], "to": [0.0, 0.3, 0.8]}, "isotonic, 3 points"),
    ],
)
def test_what_was_derived_and_calibrated_is_said(calibration: dict[str, Any], words: str) -> None:
    """Columns that were made of two by their formula, probabilities by what stands behind them."""
    found = answer()
    pairs = [["debt", "ratio", "income"], ["age", "product", "size"]]
    members = [{"kind": "linear", "params": {"pairs": pairs, "strength": 1.0}, "weight": 1.0}]
    found["report"]["lineage"]["configuration"] = {"choice": {"members": members, "calibration": calibration}}
    text = card.as_markdown(card.card_of(found))
    assert "linear (pairs debt / income and age x size, strength 1), weight 1" in text.replace("\\", "")
    assert f"| calibrated | {words} |" in text.replace("\\", "")


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    """No line break, nothing that opens an element, a link, a code span or a cell."""
    line = escaped(text)
    assert len(line.splitlines()) <= 1
    assert "<" not in line
    assert ">" not in line
    plain = line
    for sign in "\\`*_[]|~#!$@:.":
        plain = plain.replace(f"\\{sign}", "")
    assert not set(plain) & set("\\`*_[]|~#!$@")
    assert "://" not in plain
    assert "www." not in plain.lower()


_values = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(_values, _values), max_size=20), st.text(max_size=20), st.booleans(), st.booleans())
def test_any_points_are_drawn(points: list[tuple[float, float]], name: str, diagonal: bool, dots: bool) -> None:
    """Constant, huge or no points: what is drawn is well-formed, inside numbers only."""
    drawn = as_svg(Chart("c", "x", "y", [Curve("".join(c for c in name if c.isprintable()), points)], diagonal, dots))
    if not points:
        assert drawn == ""
        return
    ET.fromstring(drawn)  # noqa: S314 - our own
    assert "nan" not in drawn
    assert "inf" not in drawn.split("<text")[0]


@pytest.mark.parametrize(
    ("places", "marks"),
    [
        ([1, 2], ["1", "2"]),
        ([1, 4, 9], ["1", "3", "5", "7", "9"]),
        ([-23, 0], ["-20", "-15", "-10", "-5", "0"]),
        ([500, 33_600], ["500", "7,120", "13,740", "20,360", "26,980", "33,600"]),
        ([3], ["3"]),
        ([0, 0.5, 1], ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
    ],
)
def test_what_is_counted_has_no_fractions(places: list[float], marks: list[str]) -> None:
    """Trials, batches, hours and rows stand beside their axis as whole numbers; measured figures as they are."""
    drawn = as_svg(Chart("c", "x", "y", [Curve("one", [(place, 0.5) for place in places])]))
    assert re.findall(r'y="288" text-anchor="middle">([^<]+)<', drawn) == marks
