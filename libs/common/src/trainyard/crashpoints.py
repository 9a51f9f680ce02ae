"""Named points in the code at which a test can make the process fail; one look-up in an empty dict otherwise.

Product code calls ``crashpoint("K25")`` between two steps whose order matters. An entry module calls :func:`arm` with
its environment; ``CHAOS=K25:kill9:nth=2`` then kills the process the second time it comes by, and is refused unless
``TRAINYARD_ENV=test``. Several points are separated by commas.

``with step("K25"):`` marks a step that something outside carries out: the point fires before the step, and the action
``lost`` after it, when the effect is there and the answer is not.

Actions: ``kill9`` and ``sigterm`` signal this process, ``exit`` ends it at once with code 70, ``error`` and ``lost``
raise :class:`CrashPointError`. Options: ``nth=N`` (default 1) fires at the N-th pass only; ``once=PATH`` (without
colon or comma) fires only while there is no file PATH and makes it, so that a process that is started again with the
same environment gets past the point.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, nullcontext

from trainyard.errors import ConfigError, TransientError
from trainyard.frozen import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

ACTIONS = ("kill9", "sigterm", "exit", "error", "lost")
EXIT_CODE = 70
_VARIABLE = "CHAOS"


class CrashPointError(TransientError):
    """The failure that an armed ``error`` point stands for: something outside did not answer."""


@dataclass
class CrashPoint:
    """One armed point."""

    name: str
    action: str
    nth: int = 1
    once: Path | None = None
    _passes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_by(self) -> None:
        """Count the pass, and fire when it is the one that was asked for."""
        with self._lock:
            self._passes += 1
            due = self._passes == self.nth
        if due and self._first_time():
            self._fire()

    def _first_time(self) -> bool:
        if self.once is None:
            return True
        try:
            self.once.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _fire(self) -> None:
        if self.action in {"error", "lost"}:
            raise CrashPointError(f"crash point {self.name}")
        if self.action == "exit":
            os._exit(EXIT_CODE)
        import signal  # noqa: PLC0415 - a cold start does without

        os.kill(os.getpid(), signal.SIGKILL if self.action == "kill9" else signal.SIGTERM)


_armed: dict[str, CrashPoint] = {}
_UNARMED = nullcontext()


def crashpoint(name: str) -> None:
    """Do nothing, or what a test has armed the point ``name`` to do."""
    point = _armed.get(name)
    if point is not None:
        point.pass_by()


def step(name: str) -> AbstractContextManager[None]:
    """Pass the point ``name`` before the block, or behind it when its action is ``lost``."""
    point = _armed.get(name)
    return _UNARMED if point is None else _passing(point)


@contextmanager
def _passing(point: CrashPoint) -> Iterator[None]:
    if point.action != "lost":
        point.pass_by()
    yield
    if point.action == "lost":
        point.pass_by()


def arm(environ: Mapping[str, str]) -> None:
    """Arm the points that ``environ["CHAOS"]`` names, and no others.

    Raises:
        ConfigError: the variable is set outside a test environment, or cannot be read.
    """
    text = environ.get(_VARIABLE, "")
    if text and environ.get("TRAINYARD_ENV") != "test":
        raise ConfigError(f"{_VARIABLE} is set, but crash points are armed only where TRAINYARD_ENV=test")
    points = [parse(word) for word in text.split(",") if word.strip()]
    _armed.clear()
    _armed.update({point.name: point for point in points})


def parse(text: str) -> CrashPoint:
    """Return the point that ``NAME:ACTION[:nth=N][:once=PATH]`` describes.

    Raises:
        ConfigError: it is not of that form.
    """
    name, _, rest = text.strip().partition(":")
    action, *options = rest.split(":")
    if not name or action not in ACTIONS:
        raise ConfigError(f"{_VARIABLE}={text!r}: expected NAME:ACTION with an action of {', '.join(ACTIONS)}")
    point = CrashPoint(name, action)
    for option in options:
        key, _, value = option.partition("=")
        if key == "nth" and value.isdecimal() and int(value) > 0:
            point.nth = int(value)
        elif key == "once" and value:
            from pathlib import Path  # noqa: PLC0415 - a cold start does without it

            point.once = Path(value)
        else:
            raise ConfigError(f"{_VARIABLE}={text!r}: option {option!r} is not nth=N (from 1) or once=PATH")
    return point
