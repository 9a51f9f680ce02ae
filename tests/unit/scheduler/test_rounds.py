"""Rounds: one piece of work that fails holds up no other, unless all fail."""

from __future__ import annotations

from functools import partial

import pytest

from trainyard.errors import TransientError
from trainyard_scheduler.use_cases.rounds import MOST_FAILURES, do_all


def do(done: list[int], number: int, failing: range) -> int:
    """Do a piece of work, or fail."""
    done.append(number)
    if number in failing:
        raise TransientError(f"{number} is away")
    return number * 10


def test_all_is_done() -> None:
    """The answers come in the order of the work."""
    assert do_all([partial(do, [], number, range(0)) for number in range(3)]) == [0, 10, 20]
    assert do_all([]) == []


@pytest.mark.parametrize(
    ("failing", "tried", "last"),
    [(range(1), 9, 0), (range(8, 9), 9, 8), (range(0, 9, 2), 9, 8), (range(2), 9, 1), (range(2, 9), 5, 4)],
)
def test_failures(failing: range, tried: int, last: int) -> None:
    """The last one is raised behind the rest of the work; so many in a row end the round."""
    done: list[int] = []
    with pytest.raises(TransientError, match=f"{last} is away"):
        do_all([partial(do, done, number, failing) for number in range(9)])
    assert done == list(range(tried))
    assert MOST_FAILURES == 3
