"""What follows the beginning of a long body: fed by the loop as it comes, read by the thread that answers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: From here on nothing more is read from the client before the thread has caught up.
ENOUGH_BYTES = 1024 * 1024


class Upload:
    """A pipe between two threads that ends whole, or with the reason why it does not.

    Args:
        taken: told, in the reading thread, how many bytes it has just taken.
    """

    def __init__(self, taken: Callable[[int], object]) -> None:
        self._taken = taken
        self._changed = threading.Condition()
        self._waiting = bytearray()
        self._fault: Exception | None = None
        self.whole = False
        #: whether the connection may be used again: said with the end
        self.keep = False

    @property
    def full(self) -> bool:
        """Whether the client is ahead of the reader."""
        return len(self._waiting) >= ENOUGH_BYTES

    def feed(self, part: bytes) -> None:
        """Append what has come."""
        with self._changed:
            self._waiting += part
            self._changed.notify()

    def end(self, *, keep: bool) -> None:
        """Say that the body is whole."""
        with self._changed:
            self.whole, self.keep = True, keep
            self._changed.notify()

    def fail(self, fault: Exception) -> None:
        """Say that nothing more will come; a body that is whole stays so."""
        with self._changed:
            if not self.whole:
                self._fault = fault
            self._changed.notify()

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes as soon as there are some, and none at the end.

        Raises:
            TimeoutError: the client has stopped before the end.
            ServiceError: what it sent is not HTTP.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.whole or self._fault is not None)
            if self._fault is not None:
                raise self._fault
            data = bytes(self._waiting[:size])
            del self._waiting[:size]
        if data:
            self._taken(len(data))
        return data

    def discard(self) -> int:
        """Throw away what nobody has read; return its length."""
        with self._changed:
            n_bytes = len(self._waiting)
            self._waiting.clear()
        return n_bytes
