"""Numbers, times, lengths and states as people read them; whatever comes in, text comes out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeGuard

from trainyard.money import dollars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard_console.domain import Fetched

DASH = "–"
_MOST_DOLLARS = 1e9
_MOST_CHARS = 400
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
#: state -> how it looks: good, busy, warn, bad or quiet
_LOOKS = {
    "done": "good", "running": "busy", "queued": "busy", "failed": "bad", "lost": "bad", "cancelled": "quiet",
    "blocked_by_data": "warn", "released": "quiet", "committed": "good", "refused": "bad", "loading": "busy",
    "steady": "good", "suspect": "warn", "alarm": "bad", "not_enough_data": "quiet", "free": "good", "busy": "busy",
    "booting": "busy", "quiet": "warn", "stranger": "warn", "enough": "good", "launching": "busy",
    "waiting_capacity": "warn", "cap_reached": "warn", "passed": "good", "unknown": "warn",
    "pending_approval": "warn", "approved": "good", "rejected": "bad", "champion": "good", "challenger": "busy",
    "shadow": "busy", "idle": "good", "pulling": "busy", "asked": "busy",
}  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """A point in time as people say it, and exactly."""

    ago: str
    exact: str


@dataclass(frozen=True)
class State:
    """A state: its name, and how it looks."""

    name: str
    look: str


@dataclass(frozen=True)
class Listed:
    """A page of a list: its entries, or why there are none, and where the next page begins."""

    entries: Sequence[Any]
    missing: str | None = None
    next_cursor: str | None = None


def listed(fetched: Fetched, make: Any, key: str = "items") -> Listed:
    """Return a page of a list with each entry made by ``make``."""
    cursor = fetched.value.get("next_cursor") if isinstance(fetched.value, dict) else None
    entries = [make(item) for item in items(fetched.value, key)]
    return Listed(entries, fetched.missing, cursor if isinstance(cursor, str) else None)


def items(value: Any, key: str = "items") -> list[dict[str, Any]]:
    """Return the objects of a list in an answer."""
    found = value.get(key) if isinstance(value, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def part(value: Any, *path: str) -> dict[str, Any]:
    """Return an object inside an answer; an empty one where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def is_number(value: Any) -> TypeGuard[int | float]:
    """Tell a number from everything else, truth values included."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def state(value: Any) -> State:
    """Return a state with its look."""
    name = text(value)
    return State(name.replace("_", " "), _LOOKS.get(name, "quiet"))


def text(value: Any, default: str = DASH) -> str:
    """Return a name or a sentence."""
    return default if value is None or isinstance(value, dict | list) else str(value)[:_MOST_CHARS]


def number(value: Any) -> str:
    """Return a number of things."""
    return f"{value:,}" if is_number(value) else DASH


def figure(value: Any) -> str:
    """Return a measured number, four digits."""
    if not is_number(value):
        return DASH if not isinstance(value, bool | str) else text(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"


def share(value: Any) -> str:
    """Return a part of a whole in percent."""
    return f"{100 * value:.3g} %" if is_number(value) else DASH


def size(value: Any) -> str:
    """Return a number of bytes."""
    if not is_number(value) or value < 0:
        return DASH
    for unit, name in _BYTES:
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:,} B"


def micros(value: Any) -> str:
    """Return a length of time that is known in microseconds."""
    if not is_number(value) or value < 0:
        return DASH
    for unit, name in ((1e6, "s"), (1e3, "ms")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.3g} µs"


def money(value: Any) -> str:
    """Return US dollars."""
    return dollars(value) if is_number(value) and 0 <= value < _MOST_DOLLARS else DASH


def at(value: Any) -> datetime | None:
    """Return a time of an answer; None when it is none."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def moment(value: Any, now: datetime) -> Moment:
    """Return how long ago something was."""
    when = at(value)
    if when is None:
        return Moment(DASH, "")
    passed = (now - when).total_seconds()
    if passed < -1:
        ago = f"in {seconds(int(-passed), units=1)}"
    else:
        ago = "now" if passed < 1 else f"{seconds(int(passed), units=1)} ago"
    return Moment(ago, when.strftime("%Y-%m-%d %H:%M:%SZ"))


def duration(begin: Any, end: Any, now: datetime) -> str:
    """Return how long something took, or has taken so far."""
    started = at(begin)
    return DASH if started is None else seconds(max(0.0, ((at(end) or now) - started).total_seconds()))


def seconds(value: Any, units: int = 2) -> str:
    """Say a length of time in its largest units."""
    if not is_number(value) or not 0 <= value < 1e11:
        return DASH
    if value < 10 and value != int(value):
        return f"{value:.1f} s"
    rest = int(value)
    said: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (unit == "s" and not said):
            said.append(f"{count} {unit}")
    return " ".join(said[:units])


def count(value: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{value:,} {one if value == 1 else many}"
