"""Pictures: bars in proportion, every number as text, nothing from outside as markup, valid for any finite numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard_console.charts.bars import pushes, spark, strengths

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)


def widths(svg: str) -> list[float]:
    """Return the widths of the bars."""
    return [float(width) for width in re.findall(r'<rect[^>]* width="([0-9.]+)"', svg)]


def test_bars_are_in_proportion() -> None:
    """Twice the value is twice the bar; what is over the limit is marked, and the line stands at the limit."""
    svg = strengths([("a", 2.0, "two"), ("b", 1.0, "one"), ("c", 0.5, "half")], "t", limit=1.0)
    first, second, third = widths(svg)
    assert first == pytest.approx(2 * second, rel=0.01)
    assert second == pytest.approx(2 * third, rel=0.01)
    assert svg.count('class="bar over"') == 2
    (line,) = re.findall(r'class="limit" x1="([0-9.]+)"', svg)
    assert float(line) == pytest.approx(200 + second, abs=0.2)


def test_pushes_go_both_ways_from_one_axis() -> None:
    """What raises the score goes right, what lowers it left, each with its number."""
    svg = pushes([("age", 1.0, "+1"), ("city", -0.5, "-0.5")], "t")
    assert svg.count('class="up"') == svg.count('class="down"') == 1
    assert widths(svg)[0] == pytest.approx(2 * widths(svg)[1], rel=0.01)
    assert all(f">{words}<" in svg for words in ("+1", "-0.5", "age", "city"))


def test_a_spark_has_a_bar_for_each_value() -> None:
    """The highest fills the height; zero is still seen."""
    svg = spark([0.0, 5.0, 10.0], "Rows")
    assert [float(height) for height in re.findall(r' height="([0-9.]+)"/>', svg)] == [1.0, 14.0, 28.0]


def test_nothing_is_no_picture() -> None:
    """Without values there is none."""
    assert (spark([], "t"), strengths([], "t"), pushes([], "t")) == ("", "", "")


@given(st.lists(st.tuples(WORDS, NUMBERS, WORDS), min_size=1, max_size=8), WORDS)
def test_any_words_and_numbers_give_a_picture(rows: list[tuple[str, float, str]], title: str) -> None:
    """It is well-formed, named, stays inside its frame, and holds no element but shapes and text."""
    positive = [(name, abs(value), said) for name, value, said in rows]
    for svg in (pushes(rows, title), strengths(positive, title), spark([value for _, value, _ in positive], title)):
        root = ET.fromstring(svg)  # noqa: S314 - made here, a line above
        assert root.get("role") == "img"
        assert root.get("aria-label") == title
        assert {element.tag for element in root.iter()} <= {"svg", "title", "rect", "line", "text"}
        width = float(str(root.get("viewBox")).split()[2])
        for bar in root.iter("rect"):
            assert (
                0 <= float(str(bar.get("x"))) <= float(str(bar.get("x"))) + float(str(bar.get("width"))) <= width + 11
            )
