"""Datasets: the list, one with its columns and batches, one batch with its rejects, and the form of a new one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.card.document import Chart, Curve
from trainyard.card.svg import as_svg
from trainyard.errors import ServiceError
from trainyard_console.charts.bars import spark
from trainyard_console.views.words import (
    DASH,
    Moment,
    State,
    figure,
    is_number,
    items,
    moment,
    number,
    part,
    share,
    state,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from markupsafe import Markup


@dataclass(frozen=True)
class Row:
    """A dataset in the list."""

    name: str
    rows: str
    columns: str
    last_seq: str
    created: Moment


@dataclass(frozen=True)
class Column:
    """A column with what its rows look like."""

    name: str
    type: str
    role: str
    nullable: bool
    nulls: str
    low: str
    high: str
    mean: str
    spread: str
    levels: str
    picture: Markup | str


@dataclass(frozen=True)
class Batch:
    """Rows that came together."""

    ident: str
    source: str
    state: State
    rows: str
    rejected: str
    alarming: bool
    created: Moment
    reason: str
    progress: float | None


@dataclass(frozen=True)
class Reject:
    """A problem of a row."""

    row: str
    column: str
    expected: str
    got: str


def row(item: dict[str, Any], now: datetime) -> Row:
    """Return a dataset as a row."""
    columns = item.get("columns")
    return Row(
        text(item.get("name")),
        number(item.get("rows")),
        number(len(columns)) if isinstance(columns, list) else DASH,
        number(item.get("last_seq")),
        moment(item.get("created_at"), now),
    )


def columns(dataset: Any, profile: Any) -> list[Column]:
    """Return the columns of the schema, each with its part of the profile."""
    told = {text(one.get("name")): one for one in items(profile, "columns")}
    rows = part(profile).get("rows")
    whole = rows if is_number(rows) and rows > 0 else None
    made = []
    for one in items(dataset, "columns"):
        name = text(one.get("name"))
        of = told.get(name, {})
        nulls = of.get("nulls")
        made.append(
            Column(
                name=name,
                type=text(one.get("type")),
                role=text(one.get("role")).replace("_", " "),
                nullable=one.get("nullable") is True,
                nulls=DASH if whole is None or not is_number(nulls) else share(nulls / whole),
                low=_value(of.get("min")),
                high=_value(of.get("max")),
                mean=figure(of.get("mean")),
                spread=figure(of.get("std")),
                levels=number(of.get("levels")),
                picture=_picture(name, of),
            )
        )
    return made


def told(profile: Any) -> str:
    """Return which batches the figures of the columns are of, where it is not all of them."""
    merged, batches = part(profile).get("merged"), part(profile).get("batches")
    if not is_number(merged) or not is_number(batches) or merged >= batches:
        return ""
    return f"of the newest {number(merged)} of {number(batches)} batches"


def _picture(name: str, of: dict[str, Any]) -> Markup | str:
    """Return how the column's values are spread: counts from the least to the greatest, or the most frequent levels."""
    spread = part(of, "histogram")
    counts = spread.get("counts")
    if isinstance(counts, list) and counts and all(is_number(count) and count >= 0 for count in counts):
        most = max(counts)
        return spark(
            [float(count) for count in counts],
            f"Histogram of {name}: {len(counts)} bins from {_value(spread.get('low'))} to {_value(spread.get('high'))},"
            f" at most {number(most)} rows in one",
        )
    top = [one for one in items(of, "top") if is_number(one.get("rows"))]
    said = ", ".join(f"{text(one.get('level'))} {number(one['rows'])}" for one in top)
    return spark([float(one["rows"]) for one in top], f"Most frequent levels of {name}: {said}")


def _value(value: Any) -> str:
    if is_number(value):
        return figure(value)
    said = text(value)
    return said[:10] if len(said) > 19 and said[4:5] == "-" else said[:24]


def batch(item: dict[str, Any], now: datetime) -> Batch:
    """Return a batch as a row."""
    rejected = item.get("rejected")
    progress = part(item.get("progress"))
    done, total = progress.get("bytes_done"), progress.get("bytes_total")
    share_done = min(1.0, done / total) if is_number(done) and is_number(total) and total > 0 else None
    source, name = text(item.get("source")), text(item.get("source_name"), "")
    return Batch(
        ident=text(item.get("id")),
        source=f"{source} {name}".strip() if source != "http" else "upload by HTTP",
        state=state(item.get("state")),
        rows=number(item.get("rows")),
        rejected=number(rejected),
        alarming=is_number(rejected) and rejected > 0,
        created=moment(item.get("created_at"), now),
        reason=text(item.get("reason"), ""),
        progress=share_done,
    )


@dataclass(frozen=True)
class Quality:
    """How good batches were: the course as a picture, in words, and which columns lack values in the newest one."""

    picture: str
    words: str
    lacking: tuple[tuple[str, str], ...]


def quality(value: Any) -> Quality:
    """Return the course of rejected rows and missing values over batches, which an answer has newest first."""
    told = items(value)[::-1]
    rejected: list[tuple[float, float]] = []
    missing: list[tuple[float, float]] = []
    for place, one in enumerate(told, start=1):
        rows, lost = one.get("rows"), one.get("rejected")
        if is_number(rows) and is_number(lost) and rows + lost > 0:
            rejected.append((float(place), 100.0 * lost / (rows + lost)))
        if is_number(one.get("missing")):
            missing.append((float(place), 100.0 * one["missing"]))
    curves = [Curve("rejected rows", rejected), Curve("missing values", missing)]
    newest = told[-1] if told else {}
    lacking = [(text(name), of) for name, of in part(newest, "columns").items() if is_number(of)]
    return Quality(
        picture=as_svg(Chart("Quality of batches", "batch, the newest at the right", "percent", curves))
        if len(told) > 1
        else "",
        words=" · ".join(
            f"{name} of the newest batch: {share(points[-1][1] / 100.0)}"
            for name, points in (("rejected", rejected), ("missing", missing))
            if points
        ),
        lacking=tuple((name, share(of)) for name, of in sorted(lacking, key=lambda one: -one[1])[:10]),
    )


def reject(item: dict[str, Any]) -> Reject:
    """Return a reject as a row."""
    row = item.get("row")
    return Reject(number(row), text(item.get("column")), text(item.get("expected")), text(item.get("got")))


def schema_of(given: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the columns that the form of a new dataset says: ``name0``, ``type0``, ``role0`` and so on."""
    made: list[dict[str, Any]] = []
    while (name := given.get(f"name{len(made)}")) is not None:
        i = len(made)
        role = given.get(f"role{i}", "feature")
        optional = role in {"feature", "ignore"}
        made.append({"name": name, "type": given.get(f"type{i}", "text"), "role": role, "nullable": optional})
    return made


def media_of(filename: str) -> str:
    """Return the content type of rows by their file's name.

    Raises:
        ServiceError: ``unsupported_media``.
    """
    ending = filename.lower().rpartition(".")[2]
    try:
        return {
            "csv": "text/csv",
            "ndjson": "application/x-ndjson",
            "jsonl": "application/x-ndjson",
            "json": "application/json",
            "parquet": "application/vnd.apache.parquet",
        }[ending]
    except KeyError:
        raise ServiceError(
            "unsupported_media", "the file's name ends in .csv, .ndjson, .jsonl, .json or .parquet"
        ) from None
