"""A child process as data: what is started, what it waits for, how one sees that it is ready, how it is stopped."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def nothing() -> None:
    """Do nothing (the default of hooks)."""


def at_once() -> str | None:
    """Call a child ready as soon as it has started."""
    return None


@dataclass(frozen=True)
class Child:
    """One line of the process table.

    ``needs`` names children that must be ready before this one starts. ``stage`` orders the stop: the highest stage
    goes first, children of one stage go together. ``once`` marks a step that must end with code 0 before those that
    need it start. ``prepare`` runs in a thread before every start.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    stage: int = 0
    probe: Callable[[], str | None] = at_once
    once: bool = False
    prepare: Callable[[], None] = nothing
    stop_signal: signal.Signals = signal.SIGTERM
    #: the signal for "now", when patience has ended or the user asked twice
    kill_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = 10.0
    ready_seconds: float = 60.0
