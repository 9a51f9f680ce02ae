"""The tables that costs are made of: dated list prices, and the loads that are priced."""

from __future__ import annotations

import importlib.resources
import tomllib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from trainyard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOURS_PER_MONTH = 730
_PER = ("hour", "month", "million", "gb", "free", "assumed")


@dataclass(frozen=True)
class Prices:
    """List prices of one region on one day, by what they are for; ``free`` is what an account has for nothing."""

    region: str
    date: str
    hour: Mapping[str, float]
    month: Mapping[str, float]
    million: Mapping[str, float]
    gb: Mapping[str, float]
    free: Mapping[str, float]
    assumed: Mapping[str, float]

    def per_hour(self, kind: str) -> float:
        """Return the price of an instance class or type.

        Raises:
            ConfigError: the table has none; a price is never guessed.
        """
        if kind not in self.hour:
            raise ConfigError(
                f"the table of prices of {self.region}, {self.date}, has no {kind}; give one with --prices"
            )
        return self.hour[kind]


@dataclass(frozen=True)
class Load:
    """What is asked of a stack, on a mean day of a month."""

    about: str
    rows_per_day: float = 0.0
    predictions_per_day: float = 0.0
    rows_per_request: float = 1.0
    trainings_per_day: float = 0.0
    minutes_per_training: float = 0.0
    stored_gb: float = 0.0


def prices(path: Path | None = None) -> Prices:
    """Return the table of this package, with what ``path`` says in place of its own.

    Raises:
        ConfigError: the file cannot be read, or something in it is no price.
    """
    raw = _own("prices.toml")
    if path is not None:
        given = _read(path)
        if unknown := sorted(given.keys() - {"region", "date", *_PER}):
            raise ConfigError(f"{path} is no table of prices: {', '.join(unknown)} is not known")
        raw = raw | given | {part: {**raw[part], **given.get(part, {})} for part in _PER}
    for part in _PER:
        for name, price in raw[part].items():
            if isinstance(price, bool) or not isinstance(price, int | float) or price < 0:
                raise ConfigError(f"{path}: {part}.{name} = {price!r} is no price")
    return Prices(str(raw["region"]), str(raw["date"]), *(raw[part] for part in _PER))


def loads(path: Path | None = None) -> dict[str, Load]:
    """Return the loads by name, those of ``path`` instead of the package's.

    Raises:
        ConfigError: the file cannot be read, or something in it is no load.
    """
    known = {field.name for field in fields(Load)}
    found = {}
    for name, raw in (_own("loads.toml") if path is None else _read(path)).items():
        if not isinstance(raw, dict) or "about" not in raw or raw.keys() - known:
            raise ConfigError(f"{path}: [{name}] is no load; it takes {', '.join(sorted(known))}, and needs about")
        found[name] = Load(**raw)
    return found


def _own(name: str) -> dict[str, Any]:
    return tomllib.loads((importlib.resources.files("trainyard_deploy") / name).read_text(encoding="utf-8"))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(f"{path} cannot be read: {e}") from e
