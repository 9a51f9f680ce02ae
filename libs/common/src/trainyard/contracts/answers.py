"""Answers of POSTs that carried an Idempotency-Key: kept with their effect, given again on a repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trainyard.contracts.idempotency import Repeatable


class Answers(Protocol):
    """The answers that were given."""

    def first(self, post: Repeatable) -> tuple[int, str] | None:
        """Return status and body of the first answer, or None; a concurrent twin waits here for the other's end.

        Raises:
            ServiceError: ``key_reused``: the key came before with another body.
        """
        ...

    def keep(self, post: Repeatable, status: int, response: str) -> None:
        """Keep the answer."""
        ...
