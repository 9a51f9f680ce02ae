"""What instances cost: spot prices from EC2 where it tells them, else a small table of on-demand list prices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.adapters.aws.errors import translated
from trainyard.contracts.fleet import Prices
from trainyard.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logs.get(__name__)

_TABLE = Path(__file__).with_name("prices.json")
_VERSION = 1
_MOST_USD_PER_HOUR = 1_000.0


@dataclass(frozen=True)
class PriceTable:
    """On-demand list prices of one region on one day, US dollars per hour by instance type."""

    region: str
    date: str
    usd_per_hour: Mapping[str, float]


def load_table(path: Path | None) -> PriceTable:
    """Read a table; None: the one that comes with this package.

    Raises:
        ConfigError: the file cannot be read or is none (docs/fleet.md gives its form).
    """
    path = path or _TABLE
    try:
        return _table(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise ConfigError(f"{path} is no table of prices: {type(e).__name__}: {e}") from e


def _table(raw: Any) -> PriceTable:
    if raw["version"] != _VERSION:
        raise ValueError(f"version {raw['version']!r} is not {_VERSION}")
    prices = {str(kind): float(price) for kind, price in raw["usd_per_hour"].items()}
    if not all(0.0 <= price <= _MOST_USD_PER_HOUR for price in prices.values()):
        raise ValueError(f"a price is not between 0 and {_MOST_USD_PER_HOUR:g} USD per hour")
    return PriceTable(str(raw["region"]), str(raw["date"]), prices)


class Ec2Prices(Prices):
    """Prices of ``region``; the table counts only where it is for that region: a price is never guessed."""

    def __init__(self, client: Any, region: str, table: PriceTable) -> None:
        self._client = client
        self._listed = table.usd_per_hour if table.region == region else {}

    def usd_per_hour(self, instance_type: str, market: str | None, zone: str | None) -> float | None:
        """Return the spot price of a spot instance if EC2 tells it, else the list price, else None."""
        spot = self._spot(instance_type, zone) if market == "spot" else None
        return self._listed.get(instance_type) if spot is None else spot

    def _spot(self, instance_type: str, zone: str | None) -> float | None:
        """Return the newest spot price; without a zone the highest among the zones."""
        where = {} if zone is None else {"AvailabilityZone": zone}
        try:
            with translated(f"look for the spot price of {instance_type}"):
                answer = self._client.describe_spot_price_history(
                    InstanceTypes=[instance_type], ProductDescriptions=["Linux/UNIX"], MaxResults=50, **where
                )
            newest: dict[str, tuple[Any, float]] = {}
            for entry in answer.get("SpotPriceHistory", []):
                place, at = entry.get("AvailabilityZone", ""), entry["Timestamp"]
                if place not in newest or at > newest[place][0]:
                    newest[place] = (at, float(entry["SpotPrice"]))
        except (TransientError, KeyError, ValueError) as e:
            log.info(
                "price.unknown", instance_type=instance_type, reason=str(e)
            )  # an instance is not refused for its price
            return None
        return max((price for _, price in newest.values()), default=None)
