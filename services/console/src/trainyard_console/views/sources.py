"""Pull sources: a row of a dataset's page, and the form of a new one. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainyard_console.views.fields import Field, shown_problems
from trainyard_console.views.words import Moment, State, moment, number, part, seconds, state, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trainyard.errors import ServiceError

#: kind -> what it is called; the first one is what a form begins with.
KINDS = {"sql": "A table of a database", "url": "A file behind a URL"}
_BY_ITSELF = "as the file says"
_NAME = Field("name", "Name", "small letters, digits and underscores", "text", "", required=True)
_WHEN = (
    "When to pull",
    (
        Field("every", "Every", "such as 15m or 24h; both empty: only when asked", "text", ""),
        Field("cron", "Or at times (UTC)", "five fields such as 0 2 * * *", "text", ""),
    ),
)
#: kind -> group -> fields, empty. Their names are the keys of the description, but for those of the schedule.
_FORMS: dict[str, tuple[tuple[str, tuple[Field, ...]], ...]] = {
    "sql": (
        (
            "What to read",
            (
                _NAME,
                Field(
                    "database", "Database", "such as postgresql://user@host/shop, without a password", "text", "",
                    required=True,
                ),
                Field("table", "Table or view", "", "text", "", required=True),
                Field(
                    "cursor", "Column that only grows", "a number that counts, or when the row was changed", "text", "",
                    required=True,
                ),
                Field("secret", "Name of the password", "a line of the file TRAINYARD_PULL_SECRETS", "text", ""),
            ),
        ),
        _WHEN,
        (
            "Where it is needed",
            (
                Field("schema", "Schema", "unless the table is found by its name alone", "text", ""),
                Field("tie_breakers", "Unique with the cursor", "columns, with commas; empty: the key", "text", ""),
                Field("columns", "Columns", "a line each: theirs=ours; empty: those of equal names", "lines", ""),
                Field("zone", "Zone of times without one", "such as UTC", "text", ""),
                Field("page_rows", "Rows of a batch", "at most; empty: 10,000", "number", ""),
                Field("lag", "Stay behind now by", "such as 30s; empty: 10s, for SQLite 0", "text", ""),
                Field("tls", "TLS", "", "choice", "verify-full", ("verify-full", "require", "off")),
            ),
        ),
    ),
    "url": (
        (
            "What to read",
            (
                _NAME,
                Field("url", "Address", "such as https://example.com/prices.csv", "text", "", required=True),
                Field(
                    "format", "Format", "", "choice", _BY_ITSELF, (_BY_ITSELF, "csv", "ndjson", "json", "parquet")
                ),
            ),
        ),
        _WHEN,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where rows are pulled from, and how that goes."""

    name: str
    kind: str
    where: str
    schedule: str
    state: State
    last: Moment
    rows: str
    batch: str | None
    error: str
    next: Moment
    busy: bool


def source(item: dict[str, Any], now: datetime) -> Source:
    """Return a pull source as a row."""
    last, planned = part(item, "last_pull"), part(item, "schedule")
    where = item.get("url") if item.get("kind") == "url" else f"{text(item.get('database'))}, {text(item.get('table'))}"
    every, cron = planned.get("every"), planned.get("cron")
    batch_id = last.get("batch_id")
    return Source(
        name=text(item.get("name")),
        kind="file" if item.get("kind") == "url" else "table",
        where=text(where),
        schedule=f"every {seconds(every)}" if every is not None else text(cron, "when asked"),
        state=state(item.get("state")),
        last=moment(last.get("at"), now),
        rows=number(last.get("rows")),
        batch=None if batch_id is None else text(batch_id),
        error=text(last.get("error"), ""),
        next=moment(item.get("next_pull"), now),
        busy=text(item.get("state")) in {"asked", "pulling"},
    )


def kind_of(given: str | None) -> str:
    """Return the kind of source that is asked for."""
    return given if given in KINDS else next(iter(KINDS))


def source_form(kind: str, given: Mapping[str, str], problems: Mapping[str, str]) -> list[tuple[str, list[Field]]]:
    """Return the form of a new source of a ``kind``, with what was ``given`` and the ``problems`` by field."""
    return [
        (
            group,
            [replace(one, value=given.get(one.name, one.value), problem=problems.get(one.name, "")) for one in asked],
        )
        for group, asked in _FORMS[kind]
    ]


def description_of(kind: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the description that a form says; what cannot be read goes on as it is, for ingest to refuse."""
    made: dict[str, Any] = {"kind": kind}
    names = [one.name for _, asked in _FORMS[kind] for one in asked if one is not _NAME]
    said = {name: given[name] for name in names if given.get(name) not in {None, "", _BY_ITSELF}}
    schedule = {key: said.pop(key) for key in ("every", "cron") if key in said}
    made |= said | ({"schedule": schedule} if schedule else {})
    if said.get("page_rows", "").isdecimal():
        made["page_rows"] = int(said["page_rows"])
    if "tie_breakers" in said:
        made["tie_breakers"] = _pieces(said["tie_breakers"], ",")
    if "columns" in said:
        pairs = [line.partition("=") for line in _pieces(said["columns"], "\n")]
        made["columns"] = {theirs.strip(): ours.strip() for theirs, _, ours in pairs}
    return made


def problems_of(error: ServiceError) -> dict[str, str]:
    """Return what ingest refused by field; a refused URL has no details, since its reason is the log's alone."""
    found = {
        name.removeprefix("schedule."): words
        for name, words in shown_problems([one.as_dict() for one in error.details]).items()
    }
    if "schedule" in found:
        found["cron"] = found.pop("schedule")
    if error.code == "url_refused":
        found["url"] = error.message
    return found


def _pieces(given: str, seam: str) -> list[str]:
    return [piece.strip() for piece in given.split(seam) if piece.strip()]
