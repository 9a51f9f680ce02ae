"""The wall-clock budget of a run, shared out among what is still to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainyard.clock import Clock


class Budget:
    """A deadline on a clock; ``hit`` tells afterwards whether it ever cut anything short."""

    def __init__(self, clock: Clock, seconds: float, *, parent: Budget | None = None) -> None:
        self._clock = clock
        self._deadline = clock.monotonic() + seconds
        self._parent = parent
        self.hit = False

    @property
    def left(self) -> float:
        """Seconds that remain; negative when it is overdrawn."""
        return self._deadline - self._clock.monotonic()

    @property
    def spent(self) -> bool:
        """True when nothing is left; whoever looks stops, so the budget counts as hit."""
        if self.left > 0:
            return False
        self._note()
        return True

    def allows(self, seconds: float) -> bool:
        """Tell whether something that takes about ``seconds`` may be started."""
        if seconds <= self.left:
            return True
        self._note()
        return False

    def share(self, parts: int) -> Budget:
        """Return a budget of one part of what remains, to be divided into ``parts``."""
        return Budget(self._clock, max(0.0, self.left) / max(1, parts), parent=self)

    def within(self, seconds: float) -> Budget:
        """Return a budget of at most ``seconds`` of what remains."""
        return Budget(self._clock, max(0.0, min(seconds, self.left)), parent=self)

    def _note(self) -> None:
        self.hit = True
        if self._parent is not None:
            self._parent._note()  # noqa: SLF001 - of the same class
