"""The soak of promotions: its plan, and what it calls failed and stale."""

from __future__ import annotations

from benchmarks.promotions import PROMOTIONS, ROLLBACKS, Asked, Move, judge, page, plan

MOVES = [Move(0.0, 1), Move(10.0, 2), Move(20.0, 1)]


def stale(version: int, sent: float, answered: float | None = None) -> bool:
    """Tell whether one answer is counted as stale."""
    return judge([Asked(sent, answered or sent + 0.01, version)], MOVES)["stale"] == 1


def test_the_plan_promotes_each_version_and_goes_back_in_between() -> None:
    """Twenty promotions and five rollbacks, each to the version before."""
    versions = plan()
    assert len(versions) == PROMOTIONS + ROLLBACKS
    back = [new for old, new in zip([1, *versions], versions, strict=False) if new < old]
    assert len(back) == ROLLBACKS
    assert set(versions) >= set(range(2, PROMOTIONS + 2))


def test_a_version_is_current_until_five_seconds_after_it_was_left() -> None:
    """Before it was champion, and long after, an answer by it is stale; a version may come back."""
    assert not stale(1, 14.9)
    assert stale(1, 15.2)
    assert stale(2, 9.0)
    assert not stale(2, 9.9, answered=10.1)
    assert not stale(2, 24.9)
    assert stale(2, 25.2)
    assert not stale(1, 100.0)
    assert stale(7, 12.0)


def test_requests_without_a_good_answer_have_failed() -> None:
    """They are counted and said, and are not stale."""
    figures = judge([Asked(1.0, 1.1, 0, "503 b'...'"), Asked(1.0, 1.2, 1)], MOVES)
    assert (figures["requests"], figures["failed"], figures["stale"]) == (2, 1, 0)
    assert figures["failures"] == ["503 b'...'"]


def test_a_move_takes_until_the_last_answer_by_another_version() -> None:
    """The slowest and the median are of all moves but the first state."""
    answers = [Asked(10.2, 10.3, 1), Asked(10.9, 11.0, 2), Asked(11.5, 11.6, 1), Asked(20.4, 20.5, 2)]
    figures = judge(answers, MOVES)
    assert (figures["slowest_move_seconds"], figures["median_move_seconds"]) == (1.5, 0.95)
    assert "| slowest move seconds | 1.5 |" in page(figures)
