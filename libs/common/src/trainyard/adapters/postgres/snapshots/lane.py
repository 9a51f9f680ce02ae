"""A thread that works off what it is given, in order, while its giver goes on."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Lane:
    """Calls ``work`` with each thing that is put in; at most ``waiting`` things wait, then the giver does.

    As a context manager: leaving it normally waits for the work that is left and raises what went wrong in it; leaving
    it by an exception throws that work away.
    """

    def __init__(self, name: str, work: Callable[[Any], None], *, waiting: int) -> None:
        self._work = work
        self._things: queue.Queue[tuple[Any] | None] = queue.Queue(waiting)
        self._failure: BaseException | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Lane:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._abandoned = kind is not None
        self._things.put(None)
        self._thread.join()
        if kind is None:
            self._check()

    def put(self, thing: Any) -> None:
        """Give it the next thing; raises what went wrong with an earlier one."""
        self._check()
        self._things.put((thing,))

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (given := self._things.get()) is not None:
            if self._failure is None and not self._abandoned:
                try:
                    self._work(given[0])
                except BaseException as e:  # noqa: BLE001 - the giver raises it
                    self._failure = e
