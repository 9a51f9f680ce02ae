"""Fixtures for all tests, and the rule about sockets: none in unit tests, loopback only elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("trainyard.testing.contracts")
pytest_plugins = ["trainyard.testing.pytest_plugin"]

#: `make test` takes the default of 100 examples; what takes a whole stack asks for this number where time allows.
settings.register_profile("full", max_examples=1_000)

_UNIT = Path(__file__).parent / "unit"
#: What takes minutes has targets of its own, so that `make test` stays short.
_APART = {Path(__file__).parent / name for name in ("cases", "chaos", "machines", "poison")}
_LOOPBACK = ["127.0.0.1", "::1", "localhost"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these to targets such as ``make cases``: they are collected only where their folder is named."""
    named = any(collection_path.name in word for word in config.args)
    return True if collection_path in _APART and not named else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with what it may connect to and whom it runs beside."""
    for item in items:
        unit = item.path.is_relative_to(_UNIT)
        item.add_marker(pytest.mark.disable_socket if unit else pytest.mark.allow_hosts(_LOOPBACK))
        # Two processes share the work file by file; the tests of one stack stay in one process.
        shares_stack = "stack" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("stack" if shares_stack else str(item.path)))
