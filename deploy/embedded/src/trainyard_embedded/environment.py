"""What a child process finds in its environment: an allow-list, the settings as read, and nothing else (pure)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.config import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.config import Config

_KEPT = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "USER"})
_KEPT_PREFIXES = ("SSL_", "TRAINYARD_")
#: the emulator takes any credentials
ACCESS_KEY, SECRET_KEY = "test", "test"
#: settings that not every child may have
_DATABASE = "TRAINYARD_DATABASE_URL"
#: what is sooner over here than on EC2, unless somebody says otherwise: a trainer is a process, not a machine
_SOONER = {"TRAINYARD_BOOT_SECONDS": "60"}


def base(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of ``environ`` that children inherit.

    Proxy variables stay out, so that calls to the loopback never leave the machine; every ``AWS_*`` stays out, so
    that no process of the stack can reach a real account by accident.
    """
    return {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}


def settings(config: Config) -> dict[str, str]:
    """Return every setting as the environment variable that :func:`trainyard.config.load` reads back equal."""
    return {setting.variable: _text(getattr(config, setting.field)) for setting in SETTINGS}


def for_child(environ: Mapping[str, str], config: Config, *, database: bool, aws: bool) -> dict[str, str]:
    """Return the environment of a service: ``database`` and ``aws`` say which of the two it may reach."""
    sooner = {name: value for name, value in _SOONER.items() if name not in environ}
    env = base(environ) | settings(config) | sooner | {"PYTHONUNBUFFERED": "1"}
    if not database:
        env.pop(_DATABASE)
    if aws:
        env |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    return env


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return " ".join(value)
        case Path():
            return str(value)
        case _:
            return str(value)
