"""Tables for people: short ones are fitted to the screen, long ones are printed as they are, quickly."""

from __future__ import annotations

import io

from trainyard_client.cli.output import Output

COLUMNS = ("id", "new_rows", "error")


def lines(rows: list[dict[str, object]]) -> list[str]:
    """Return the table as it is printed into a pipe, without the spaces at the ends of the lines."""
    stream = io.StringIO()
    Output(as_json=False, stdout=stream, stderr=io.StringIO()).table(rows, COLUMNS, empty="nothing")
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_a_long_table_reads_like_a_short_one() -> None:
    """Titles, alignment (numbers right, wide characters as wide as they are) and gaps do not depend on the length."""
    few: list[dict[str, object]] = [
        {"id": "a", "new_rows": 5, "error": None},
        {"id": "日本", "new_rows": 1000, "error": "it broke"},
    ]
    short, long = lines(few), lines(few * 500)

    assert short == ["id    new rows  error", "a            5  –", "日本      1000  it broke"]
    assert long == short[:1] + short[1:] * 500


def test_a_long_table_has_one_line_for_a_row() -> None:
    """Control characters in data move nothing, and a value wider than any screen is not cut or folded."""
    rows: list[dict[str, object]] = [{"id": "x" * 500, "new_rows": 1, "error": "a\x1b[2J\nb"}] * 300

    assert lines(rows)[1:] == [f"{'x' * 500}         1  a\ufffd[2J\ufffdb"] * 300
