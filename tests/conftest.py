"""Fixtures for all tests, and the rule about sockets: none in unit tests, loopback only elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("trainyard.testing.contracts")
pytest_plugins = ["trainyard.testing.pytest_plugin"]

#: `make test` takes the default of 100 examples; what takes a whole stack asks for this number where time allows.
# no deadlines: how long an example takes says more about the machine than about the code
settings.register_profile("usual", deadline=None)
settings.register_profile("full", max_examples=1_000, deadline=None)
settings.load_profile("usual")

# What a training child is started with, for the tests that learn in this process, and before numpy is imported: two
# processes with two threads each wait for one another, and LightGBM takes ten times as long.
os.environ.update({f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")})

_UNIT = Path(__file__).parent / "unit"
#: What takes minutes has targets of its own, so that `make test` stays short.
_APART = {
    Path(__file__).parent / name
    for name in ("browser", "cases", "chaos", "clients", "e2e/compose", "machines", "mariadb", "poison", "rehearse")
}
_LOOPBACK = ["127.0.0.1", "::1", "localhost"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these to targets such as ``make chaos``: they are collected only where their folder is named."""
    named = any(collection_path.name in word for word in config.args)
    return True if collection_path in _APART and not named else None


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in its own hook of this name, which would come first
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with what it may connect to and whom it runs beside."""
    for item in items:
        unit = item.path.is_relative_to(_UNIT)
        item.add_marker(pytest.mark.disable_socket if unit else pytest.mark.allow_hosts(_LOOPBACK))
        group = _group(item)
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))


def _group(item: pytest.Item) -> str | None:
    """Return the tests beside which one runs in the same of two processes: those that share a fixture with it.

    Of what a session has, each process has one of its own (Postgres, an emulator), except a whole stack.
    """
    fixtures = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 - an Item that is no function has none
    scopes = {name: found[-1].scope for name, found in fixtures.items()}
    if scopes.get("stack") == "session":
        return "stack"
    return str(item.path) if {"class", "module", "package"} & set(scopes.values()) else None
