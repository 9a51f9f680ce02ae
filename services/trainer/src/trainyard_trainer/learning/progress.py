"""How far a run is, as it tells its parent: the stage, and what is known by then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard_trainer.learning.budget import Budget


class Progress:
    """Says ``{"stage", "done", "total"}``, and beside them what was noted last and the seconds left of the budget."""

    def __init__(self, say: Callable[[dict[str, Any]], None], budget: Budget) -> None:
        self._say = say
        self._budget = budget
        self._noted: dict[str, Any] = {}

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Say how far it is."""
        left = self._budget.left
        time = {} if math.isinf(left) else {"seconds_left": round(max(0.0, left), 1)}
        self._say({"stage": stage, "done": done, "total": total, **self._noted, **time})

    def note(self, **facts: Any) -> None:
        """Keep facts for all that is said from now on: ``trial`` (number), ``best`` (score so far), its ``metric``."""
        self._noted |= facts
