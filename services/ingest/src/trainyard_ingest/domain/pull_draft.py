"""The description of a pull source, as people send it (docs/sources.md): checked whole, every problem at once."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from trainyard.contracts.sources import KINDS, Draft
from trainyard.cron import cron_problem, next_due
from trainyard.durations import seconds_of
from trainyard.errors import Problem, ServiceError
from trainyard.schema import shown
from trainyard_ingest.domain.pull_spec import FORMAT_ENDINGS, SYSTEMS
from trainyard_ingest.domain.pulls import url_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

DEFAULT_PAGE_ROWS, MOST_PAGE_ROWS = 10_000, 100_000
DEFAULT_LAG_SECONDS, MOST_LAG_SECONDS = 10.0, 3600.0
LEAST_EVERY_SECONDS, MOST_EVERY_SECONDS = 10.0, 366 * 86_400.0
TLS = ("verify-full", "require", "off")
_MOST_NAME_CHARS, _MOST_URL_CHARS, _MOST_COLUMNS = 128, 4_096, 1_000
_SECRET = re.compile(r"[a-z][a-z0-9_]{0,47}", re.ASCII)
_CRON = re.compile(r"[0-9A-Za-z*,/# -]{9,200}", re.ASCII)
_KEYS = {
    "sql": (
        "database",
        "secret",
        "table",
        "schema",
        "columns",
        "cursor",
        "tie_breakers",
        "zone",
        "page_rows",
        "lag",
        "tls",
    ),
    "url": ("url", "format"),
}


def read_draft(raw: Mapping[str, Any], now: datetime) -> Draft:
    """Return the source that the body of a PUT describes.

    Raises:
        ServiceError: ``source_refused``, the details listing every problem; ``url_refused``.
    """
    kind = raw.get("kind")
    if kind not in KINDS:
        raise _refuse([_wrong("kind", f"one of {', '.join(KINDS)}", kind)])
    keys = _KEYS[kind]
    problems = [
        Problem(None, shown(name), f"one of the keys kind, schedule, {', '.join(keys)}", "an unknown key")
        for name in raw
        if name not in {"kind", "schedule", *keys}
    ]
    given = {name: raw[name] for name in keys if raw.get(name) is not None}
    problems += (_table_problems if kind == "sql" else _url_problems)(given)
    schedule = raw.get("schedule")
    problems += _schedule_problems(schedule)
    if problems:
        raise _refuse(problems)
    if kind == "sql":
        lag = 0.0 if given["database"].startswith("sqlite") else DEFAULT_LAG_SECONDS
        given = {"page_rows": DEFAULT_PAGE_ROWS, "tls": TLS[0], **given}
        given["lag"] = seconds_of(given["lag"]) if "lag" in given else lag
    plan = None
    if schedule is not None:
        plan = {"cron": schedule["cron"]} if "cron" in schedule else {"every": seconds_of(schedule["every"])}
    return Draft(kind, given, plan, _sequence(kind, given), first_due(plan, now))


def first_due(schedule: Mapping[str, Any] | None, now: datetime) -> datetime | None:
    """Return when a new source is pulled first: at once, or at the cron expression's next time."""
    if schedule is None:
        return None
    return next_due(schedule["cron"], now) if "cron" in schedule else now


def _refuse(problems: list[Problem]) -> ServiceError:
    return ServiceError("source_refused", f"{len(problems)} problem(s) with the source's description", problems[:100])


def _wrong(where: str, expected: str, got: object) -> Problem:
    return Problem(None, where, expected, "nothing" if got is None else shown(got))


def _sequence(kind: str, given: Mapping[str, Any]) -> str:
    """Identify what is read in which order: other columns or pages go on where they were, another table does not."""
    if kind == "url":
        return f"url:{hashlib.sha256(given['url'].encode()).hexdigest()}"
    names = ("database", "schema", "table", "cursor", "tie_breakers")
    return f"sql:{hashlib.sha256(json.dumps([given.get(name) for name in names]).encode()).hexdigest()}"


def _table_problems(given: Mapping[str, Any]) -> list[Problem]:
    found = _address_problems(given.get("database"))
    name = f"the name of one, at most {_MOST_NAME_CHARS} characters"
    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        "table": (_is_name, name),
        "cursor": (_is_name, name),
        "schema": (_is_name, name),
        "secret": (_is_secret, "the name of a line in the file TRAINYARD_PULL_SECRETS: a-z, 0-9 and _"),
        "columns": (_is_mapping, "an object {column of the table: column of the dataset}, each dataset column once"),
        "tie_breakers": (_are_names, "a list of columns of the table, each once"),
        "zone": (_is_zone, 'a time zone such as "UTC" or "Europe/Berlin"'),
        "page_rows": (_is_page_rows, f"a whole number from 1 to {MOST_PAGE_ROWS}"),
        "lag": (_is_lag, 'seconds or a text such as "30s", from 0 to 1 h'),
        "tls": (lambda value: value in TLS, f"one of {', '.join(TLS)}"),
    }
    for key, (fits, expected) in checks.items():
        if (key in given or key in {"table", "cursor"}) and not fits(given.get(key)):
            found.append(_wrong(key, expected, given.get(key)))
    return found


def _address_problems(address: object) -> list[Problem]:
    """Check the database's address; what is wrong is told without repeating it, for it may hold a password."""
    expected = "an address such as postgresql://user@host:5432/name, mysql://user@host/name or sqlite:///shop.db"
    parts = _split(address)
    if parts is None or parts.scheme not in SYSTEMS:
        return [Problem(None, "database", expected, "something else")]
    if parts.password is not None:
        where = "no password in it: it belongs into the file TRAINYARD_PULL_SECRETS, its name into 'secret'"
        return [Problem(None, "database", where, "an address with a password")]
    if parts.query or parts.fragment or "?" in str(address) or "%" in str(address):
        return [Problem(None, "database", expected, "an address with options or escapes")]
    if parts.scheme == "sqlite":
        whole = not parts.netloc and len(parts.path) > 1 and not parts.path.startswith("//")
        return (
            []
            if whole
            else [Problem(None, "database", "sqlite:/// and a path within TRAINYARD_PULL_DIR", "another path")]
        )
    whole = bool(parts.hostname and parts.username and len(parts.path) > 1 and "/" not in parts.path[1:])
    return [] if whole else [Problem(None, "database", expected, "an address without user, host or name")]


def _split(address: object) -> SplitResult | None:
    if not isinstance(address, str) or len(address) > _MOST_URL_CHARS or not address.isprintable() or " " in address:
        return None
    try:
        parts = urlsplit(address)
        _ = parts.port, parts.hostname
    except ValueError:
        return None
    return parts


def _url_problems(given: Mapping[str, Any]) -> list[Problem]:
    if "url" not in given:
        return [Problem(None, "url", "the address of a file, such as https://example.com/late.csv", "nothing")]
    if _split(given["url"]) is None:
        raise url_refused()
    kind = given.get("format")
    if kind is not None and kind not in FORMAT_ENDINGS:
        return [_wrong("format", f"one of {', '.join(FORMAT_ENDINGS)}", kind)]
    return []


def _schedule_problems(schedule: object) -> list[Problem]:
    if schedule is None:
        return []
    if not isinstance(schedule, dict) or len(schedule) != 1 or not {"every", "cron"} & set(schedule):
        return [_wrong("schedule", 'null, {"every": "15m"} or {"cron": "0 2 * * *"}', schedule)]
    if "every" in schedule:
        seconds = seconds_of(schedule["every"])
        if seconds is None or not LEAST_EVERY_SECONDS <= seconds <= MOST_EVERY_SECONDS:
            return [_wrong("schedule.every", 'seconds or a text such as "15m", from 10 s to 366 d', schedule["every"])]
        return []
    expression = schedule["cron"]
    if not isinstance(expression, str) or not _CRON.fullmatch(expression):
        return [_wrong("schedule.cron", 'five fields such as "0 2 * * *", in UTC', expression)]
    problem = cron_problem(expression)
    return [] if problem is None else [Problem(None, "schedule.cron", "five fields, in UTC", problem)]


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= _MOST_NAME_CHARS and value.isprintable()


def _are_names(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 16 and all(map(_is_name, value)) and len(set(value)) == len(value)


def _is_secret(value: object) -> bool:
    return isinstance(value, str) and _SECRET.fullmatch(value) is not None


def _is_mapping(value: object) -> bool:
    return (
        isinstance(value, dict)
        and 1 <= len(value) <= _MOST_COLUMNS
        and all(_is_name(name) for pair in value.items() for name in pair)
        and len(set(value.values())) == len(value)
    )


def _is_zone(value: object) -> bool:
    if not isinstance(value, str) or len(value) > 64:
        return False
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return False
    return True


def _is_page_rows(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_PAGE_ROWS


def _is_lag(value: object) -> bool:
    seconds = seconds_of(value)
    return seconds is not None and 0 <= seconds <= MOST_LAG_SECONDS
