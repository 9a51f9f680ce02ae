"""What runs around the loop: queues and dead letters, fleet, costs, keys, audit log, doctor. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard_console.views.words import (
    DASH,
    Moment,
    State,
    is_number,
    items,
    moment,
    money,
    number,
    part,
    seconds,
    state,
    text,
)

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Queue:
    """A queue's numbers."""

    name: str
    visible: str
    in_flight: str
    delayed: str
    dead: str
    alarming: bool
    oldest: str


@dataclass(frozen=True)
class Letter:
    """A dead letter."""

    type: str
    words: str
    preview: str
    received: str
    sent: Moment
    request: str | None


@dataclass(frozen=True)
class Machine:
    """An instance of the fleet."""

    ident: str
    kind: str
    market: str
    duty: State
    price: str
    age: str
    work: str | None


@dataclass(frozen=True)
class Fleet:
    """The fleet in words and machines."""

    state: State
    open: str
    most: str
    today: str
    cap: str
    refusals: tuple[str, ...]
    machines: tuple[Machine, ...]


@dataclass(frozen=True)
class Key:
    """An API key, without its secret."""

    ident: str
    name: str
    scopes: str
    created: Moment
    ends: Moment
    live: bool


@dataclass(frozen=True)
class Entry:
    """A line of the audit log."""

    at: Moment
    actor: str
    action: str
    subject: str
    details: str


@dataclass(frozen=True)
class Check:
    """A check of the doctor."""

    ident: str
    title: str
    state: State
    problems: tuple[str, ...]
    mend: str


@dataclass(frozen=True)
class Deployment:
    """A move of an alias."""

    alias: State
    version: str
    before: str
    actor: str
    reason: str
    at: Moment


def queue(item: dict[str, Any]) -> Queue:
    """Return a queue."""
    dead, oldest = item.get("dead"), item.get("oldest_seconds")
    return Queue(
        text(item.get("name")),
        number(item.get("visible")),
        number(item.get("in_flight")),
        number(item.get("delayed")),
        number(dead),
        alarming=is_number(dead) and dead > 0,
        oldest=seconds(oldest) if is_number(oldest) else DASH,
    )


def letter(item: dict[str, Any], now: datetime) -> Letter:
    """Return a dead letter."""
    request = part(item.get("request")).get("id")
    return Letter(
        text(item.get("type")),
        text(item.get("words") or item.get("cause")),
        text(item.get("preview"), ""),
        number(item.get("receive_count")),
        moment(item.get("sent_at"), now),
        None if request is None else text(request),
    )


def fleet(value: Any) -> Fleet:
    """Return the fleet."""
    told = part(value)
    today, cap = part(told, "today"), part(told, "cap")
    return Fleet(
        state=state(told.get("state")),
        open=number(told.get("open_requests")),
        most=number(told.get("max")),
        today=f"{money(today.get('usd'))} of {money(today.get('max_usd'))}, "
        f"{_hours(today.get('hours'))} of {_hours(today.get('max_hours'))} instance hours",
        cap=f"the limit {text(cap.get('name')).replace('_', ' ')} is reached" if cap else "",
        refusals=tuple(
            f"{text(error.get('message'))}. {text(error.get('next_step'), '')}".strip()
            for pool in items(told, "pools")
            if (error := part(pool, "error"))
        ),
        machines=tuple(_machine(one) for one in items(told, "instances")),
    )


def _hours(value: Any) -> str:
    return f"{value:.3g}" if is_number(value) else "any number of"


def _machine(item: dict[str, Any]) -> Machine:
    work = part(item, "worker").get("request_id")
    return Machine(
        text(item.get("instance_id")),
        text(item.get("instance_type")),
        text(item.get("market")),
        state(item.get("duty") or item.get("state")),
        f"{money(item.get('usd_per_hour'))}/h",
        seconds(item.get("age_seconds")),
        None if work is None else text(work),
    )


def key(item: dict[str, Any], now: datetime) -> Key:
    """Return an API key."""
    scopes = item.get("scopes")
    return Key(
        text(item.get("id")),
        text(item.get("name")),
        ", ".join(str(scope) for scope in scopes) if isinstance(scopes, list) else DASH,
        moment(item.get("created_at"), now),
        moment(item.get("revoked_at") or item.get("expires_at"), now),
        live=item.get("revoked_at") is None,
    )


def entry(item: dict[str, Any], now: datetime) -> Entry:
    """Return a line of the audit log."""
    details = part(item.get("details"))
    said = ", ".join(
        f"{name.replace('_', ' ')}: {text(value)}" for name, value in details.items() if text(value) != DASH
    )
    return Entry(
        moment(item.get("at"), now),
        text(item.get("actor")),
        text(item.get("action")),
        text(item.get("subject")),
        said[:300],
    )


def check(item: dict[str, Any]) -> Check:
    """Return a check of the doctor."""
    problems = item.get("problems")
    return Check(
        text(item.get("id")),
        text(item.get("title")),
        state(item.get("state")),
        tuple(text(one) for one in problems[:20]) if isinstance(problems, list) else (),
        text(item.get("mend"), ""),
    )


def deployment(item: dict[str, Any], now: datetime) -> Deployment:
    """Return a move of an alias."""
    return Deployment(
        state(item.get("alias")),
        text(item.get("version")),
        text(item.get("previous_version")),
        text(item.get("actor")),
        text(item.get("reason"), ""),
        moment(item.get("at"), now),
    )


def costs(value: Any) -> tuple[list[tuple[str, float, str]], str]:
    """Return the cost of each day's instances, oldest first, and all in a sentence."""
    days: dict[str, float] = {}
    for one in items(value, "instances"):
        if is_number(one.get("cost_usd")):
            days[text(one.get("day"))] = days.get(text(one.get("day")), 0.0) + one["cost_usd"]
    total = part(value, "total")
    words = (
        f"{money(total.get('instances_usd'))} for {_hours(total.get('hours'))} instance hours, of which trainings took"
        f" {money(total.get('runs_usd'))}"
    )
    return [(day, cost, money(cost)) for day, cost in sorted(days.items())], words
