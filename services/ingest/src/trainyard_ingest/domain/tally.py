"""What became of the rows of one body: how many came, how many were rejected, and why."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from trainyard.contracts.warehouse import MAX_REJECTS_KEPT
from trainyard.errors import ServiceError
from trainyard_ingest.domain import limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainyard.errors import Problem

DETAILS_SHOWN = 100
#: A body of which so many rows were rejected, and more than half of those read, is not read to its end.
GIVE_UP_AFTER = 100_000


class Tally:
    """Counts rows and keeps the first problems.

    ``most_rejected_share``, from 0 to 1: a batch with more of its rows rejected is refused as a whole.
    """

    def __init__(self, most_rejected_share: float = 0.05) -> None:
        # As it is written, not as a float holds it: one row in 20 is not more than 0.05 of them, of any number.
        self._most_rejected = Fraction(repr(most_rejected_share))
        self.rows = 0
        self.rejected = 0
        self.problems: list[Problem] = []

    def add(self, rows: int, rejected: int, problems: Iterable[Problem]) -> None:
        """Count ``rows`` more, ``rejected`` of them for the ``problems``.

        Raises:
            ServiceError: ``too_large``: there are more rows than a body may have; ``invalid_rows``: nearly all of very
                many were rejected.
        """
        self.rows += rows
        self.rejected += rejected
        for problem in problems:
            if len(self.problems) == MAX_REJECTS_KEPT:
                break
            self.problems.append(problem)
        if self.rows > limits.MAX_ROWS:
            raise ServiceError("too_large", f"the body has more than {limits.MAX_ROWS:,} rows")
        if self.rejected > GIVE_UP_AFTER and self.rejected > max(self._most_rejected, Fraction(1, 2)) * self.rows:
            self.judge()

    def judge(self) -> None:
        """Accept the batch, or refuse it.

        Raises:
            ServiceError: ``empty_body``: there was no row; ``invalid_rows``: too many were rejected.
        """
        if self.rows == 0:
            raise ServiceError("empty_body", "the body holds no row")
        if self.rejected > self._most_rejected * self.rows:
            most = f"{float(self._most_rejected * 100):.10g} %"
            raise ServiceError(
                "invalid_rows",
                f"{self.rejected:,} of {self.rows:,} rows do not fit the schema, more than {most}; nothing was stored",
                self.problems[:DETAILS_SHOWN],
            )
