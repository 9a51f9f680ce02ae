"""What the tests of the scheduler share: the log lines that were written, and what the records were told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.testing.fakes import MemoryStore


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str, dict[str, Any]]]]:
    """Return every log line so far: level, action, fields."""
    caplog.set_level("INFO")
    return lambda: [(r.levelname, r.getMessage(), r.trainyard_fields) for r in caplog.records]


@pytest.fixture
def journal() -> Callable[..., tuple[list[Any], list[Any]]]:
    """Return events (kind, subject, payload) and audit (actor, action, subject, details) behind the first ``skip``."""

    def told(store: MemoryStore, skip: tuple[int, int] = (0, 0)) -> tuple[list[Any], list[Any]]:
        events = [(e.kind, e.subject, e.payload) for e in store.state.events[skip[0] :]]
        return events, [(a.actor, a.action, a.subject, a.details) for a in store.state.audit[skip[1] :]]

    return told
