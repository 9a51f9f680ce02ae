"""What became of the rows of one body: how many came, how many were rejected, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.contracts.warehouse import MAX_REJECTS_KEPT
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainyard.errors import Problem

#: A batch with more than this share of its rows rejected is refused as a whole: one row in 20.
REFUSED_OVER_ONE_IN = 20
DETAILS_SHOWN = 100


class Tally:
    """Counts rows and keeps the first problems."""

    def __init__(self) -> None:
        self.rows = 0
        self.rejected = 0
        self.problems: list[Problem] = []

    def add(self, rows: int, rejected: int, problems: Iterable[Problem]) -> None:
        """Count ``rows`` more, ``rejected`` of them for the ``problems``."""
        self.rows += rows
        self.rejected += rejected
        for problem in problems:
            if len(self.problems) == MAX_REJECTS_KEPT:
                break
            self.problems.append(problem)

    def judge(self) -> None:
        """Accept the batch, or refuse it.

        Raises:
            ServiceError: ``empty_body``: there was no row; ``invalid_rows``: more than 5 % were rejected.
        """
        if self.rows == 0:
            raise ServiceError("empty_body", "the body holds no row")
        if self.rejected * REFUSED_OVER_ONE_IN > self.rows:
            raise ServiceError(
                "invalid_rows",
                f"{self.rejected:,} of {self.rows:,} rows do not fit the schema, more than 5 %; nothing was stored",
                self.problems[:DETAILS_SHOWN],
            )
