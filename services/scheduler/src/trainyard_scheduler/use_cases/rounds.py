"""Rounds over many things of which one may fail without holding up the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Answer = TypeVar("Answer")
#: So many failures one behind the other, and it is not the work that fails but what all of it stands on.
MOST_FAILURES = 3


def do_all(work: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Do every piece of work, whatever becomes of the others; return their answers.

    Raises:
        TransientError: the last of those that some of it raised. After :data:`MOST_FAILURES` in a row the rest is left
            for another time: nobody waits a thousand times for a database that is away.
    """
    answers: list[Answer] = []
    failure, in_a_row = None, 0
    for piece in work:
        try:
            answers.append(piece())
            in_a_row = 0
        except TransientError as e:
            failure, in_a_row = e, in_a_row + 1
        if in_a_row == MOST_FAILURES:
            break
    if failure is not None:
        raise failure
    return answers
