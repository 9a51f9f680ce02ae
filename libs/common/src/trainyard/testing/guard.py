"""Tools that damage things on purpose work in tests only."""

from __future__ import annotations

import os

from trainyard.errors import ConfigError


def only_in_tests(tool: str) -> None:
    """Return in a process of a test: ``TRAINYARD_ENV=test``, or pytest itself with that variable not set.

    Raises:
        ConfigError: anywhere else.
    """
    environ = os.environ  # noqa: TID251 - nobody hands a test tool its configuration
    if environ.get("TRAINYARD_ENV", "test" if "PYTEST_VERSION" in environ else "") != "test":
        raise ConfigError(f"{tool} damages what it touches; it works only where TRAINYARD_ENV=test")
