"""`trainyard fleet`, `trainyard costs`: the training instances, what they wait for, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard.durations import in_words
from trainyard.money import dollars, dollars_per_hour
from trainyard_client.cli.frame import command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

_INSTANCES = ("instance_id", "state", "instance_type", "market", "zone", "age", "work", "trainer", "price")
_ALIVE = ("pending", "running")


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""

    @click.option("--all", "show_all", is_flag=True, help="Ended instances too, as long as EC2 knows them.")
    def fleet(output: Output, client: Client, show_all: bool) -> None:
        """Show the training instances, what requests wait for, and the limits of the day."""
        found = client.fleet()
        if not output.data(found):
            _show_fleet(output, found, show_all=show_all)

    @click.option("--from", "first", metavar="DAY", help="First day, such as 2026-01-01; by default 30 days ago.")
    @click.option("--upto", "last", metavar="DAY", help="Last day, included; by default today (UTC).")
    def costs(output: Output, client: Client, first: str | None, last: str | None) -> None:
        """Show what runs and instances cost, by day."""
        found = client.costs(first, last)
        if not output.data(found):
            _show_costs(output, found)

    command(root, "fleet", example="trainyard fleet")(fleet)
    command(root, "costs", example="trainyard costs --from 2026-01-01 --upto 2026-01-31")(costs)


def _show_fleet(output: Output, found: Mapping[str, Any], *, show_all: bool) -> None:
    instances = [_instance(item) for item in found.get("instances", []) if show_all or item.get("state") in _ALIVE]
    output.table(instances, _INSTANCES, empty="no instance runs")
    for launch in found.get("launches", []):
        if launch.get("state") == "asked":
            types = ", ".join(launch.get("instance_types", []))
            output.say(f"launch {launch.get('launch_id')} of {types} waits for EC2's answer")
    for pool in found.get("pools", []):
        _show_pool(output, pool)
    output.say(
        f"{found.get('open_requests')} open requests, {found.get('desired', 0)} instances wanted,"
        f" at most {found.get('max')}"
    )
    _show_limits(output, found)


def _instance(item: Mapping[str, Any]) -> dict[str, Any]:
    worker = item.get("worker") or {}
    trainer = f"{worker['state']}, {worker['silent_seconds']:.0f} s ago" if worker else None
    age = item.get("age_seconds")
    price = item.get("usd_per_hour")
    return {
        **item,
        "age": None if age is None else _duration(age),
        "work": item.get("duty"),
        "trainer": trainer,
        "price": None if price is None else dollars_per_hour(price),
    }


def _show_pool(output: Output, pool: Mapping[str, Any]) -> None:
    """Say what the requests of one kind get, and why not more."""
    market = "spot first" if pool.get("spot") else "on-demand"
    output.say(
        f"{', '.join(pool['instance_types'])} ({market}): {pool['open']} open, {pool['busy']} in work,"
        f" {pool['available']} free or on their way, {pool['desired']} wanted: {pool['state'].replace('_', ' ')}"
    )
    error = pool.get("error")
    if error:
        output.say(f"  EC2 said {error['seconds_ago']:.0f} s ago: {error['message']}")
        output.say(f"  next try in {error['next_try_seconds']:.0f} s; next step: {error['next_step']}")


def _show_limits(output: Output, found: Mapping[str, Any]) -> None:
    today = found.get("today")
    if today:
        hours = _hours(today["hours"]) + _of(today.get("max_hours"), _hours)
        spent = dollars(today["usd"]) + _of(today.get("max_usd"), dollars)
        output.say(f"today (UTC): instances ran for {hours} and cost {spent}")
    cap = found.get("cap")
    if cap:
        tell, what = _LIMITS[cap["name"]]
        output.say(f"limit reached: {tell(cap['used'])} of {tell(cap['limit'])} {what}; nothing is launched")


def _show_costs(output: Output, found: Mapping[str, Any]) -> None:
    runs = [{**row, "time": in_words(row["seconds"]), "cost": _cost(row["cost_usd"])} for row in found["runs"]]
    output.table(
        runs,
        ("day", "model", "instance_type", "runs", "time", "cost", "unpriced_runs"),
        empty=f"no run ended from {found['from']} to {found['upto']}",
    )
    instances = [
        {**row, "time": in_words(row["hours"] * 3600.0), "cost": _cost(row["cost_usd"])} for row in found["instances"]
    ]
    columns = ("day", "instance_type", "market", "instances", "time", "cost")
    output.table(instances, columns, empty="no instance ran")
    total = found["total"]
    runs_cost, instances_cost = (_cost(total[whose]) or "an unknown amount" for whose in ("runs_usd", "instances_usd"))
    output.say(f"runs cost {runs_cost}; instances cost {instances_cost}, idle time included")
    if total["unpriced_runs"]:
        output.say(f"{total['unpriced_runs']} runs without a known price are not in it")


def _cost(amount: float | None) -> str | None:
    return None if amount is None else dollars(amount)


def _hours(hours: float) -> str:
    return f"{hours:,.2f}".removesuffix(".00") + " h"


def _count(number: float) -> str:
    return f"{number:.0f}"


def _of(most: float | None, tell: Callable[[float], str]) -> str:
    return "" if most is None else f" of {tell(most)}"


#: The limits by name: how their figures are told, and of what they are.
_LIMITS = {
    "instances": (_count, "instances"),
    "hours_per_day": (_hours, "of instances today"),
    "usd_per_day": (dollars, "spent today"),
}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
