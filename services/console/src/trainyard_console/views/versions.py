"""A version: its card as the page shows it, what an action on it will do, and two versions side by side. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.card.document import Chart, Curve, Table, Words, figure
from trainyard.card.sections import card_of
from trainyard.card.svg import as_svg
from trainyard_console.views import models
from trainyard_console.views.words import is_number, items, part, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trainyard.card.document import Block, Document

    Json = Mapping[str, Any]

#: what may be done with a version -> its title
ACTIONS = {
    "promote": "Make it the champion",
    "challenger": "Let it answer a share",
    "shadow": "Let it score in the shadow",
    "rollback": "Roll back",
    "approve": "Approve it",
    "reject": "Reject it",
    "reproduce": "Make it again",
}


@dataclass(frozen=True)
class Piece:
    """A block of the card as the template shows it: words, a table or a picture; the others are empty."""

    words: str = ""
    titles: Sequence[str] = ()
    lines: Sequence[Sequence[str]] = ()
    picture: str = ""


@dataclass(frozen=True)
class Check:
    """A line of the gate's report."""

    name: str
    words: str
    passed: bool
    soft: bool


@dataclass(frozen=True)
class Version:
    """The page."""

    row: models.Version
    title: str
    verdict: str
    promotion: str
    checks: tuple[Check, ...]
    sections: tuple[tuple[str, str, tuple[Piece, ...]], ...]
    run: str | None
    request: str | None
    dataset: str
    champion_version: str | None


def version(found: Any, now: datetime) -> Version:
    """Return the page from a version's report; a report that cannot be read costs its sections."""
    item = part(found, "version")
    gate = part(item, "gate")
    run, request, champion = item.get("run_id"), item.get("request_id"), gate.get("champion_version")
    return Version(
        row=models.version(item, now),
        title=f"{text(item.get('model'))} version {text(item.get('version'))}",
        verdict=text(gate.get("summary"), ""),
        promotion=text(gate.get("promotion"), ""),
        checks=tuple(
            Check(
                text(one.get("name")).replace("_", " "), text(one.get("words")), one.get("passed") is True,
                one.get("soft") is True,
            )
            for one in items(gate, "checks")
        ),
        sections=_sections(found),
        run=None if run is None else text(run),
        request=None if request is None else text(request),
        dataset=text(part(found, "model").get("dataset")),
        champion_version=None if champion is None else text(champion),
    )  # fmt: skip


def _sections(found: Any) -> tuple[tuple[str, str, tuple[Piece, ...]], ...]:
    try:
        card: Document = card_of(found)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return (("Card", "card", (Piece(words="This version's report cannot be read by this release."),)),)
    return tuple(
        (section.title, section.title.lower().replace(" ", "-"), tuple(_piece(block) for block in section.blocks))
        for section in card.sections
        if section.title != "Gate"  # the page has it at its head
    )


def _piece(block: Block) -> Piece:
    if isinstance(block, Words):
        return Piece(words=block.text)
    if isinstance(block, Table):
        return Piece(titles=block.titles, lines=block.lines)
    return Piece(picture=as_svg(block))


def may(action: str, item: Any, *, operator: bool) -> bool:
    """Tell whether an action makes sense for a version, and for whoever asks."""
    if not operator:
        return False
    aliases = item.get("aliases") if isinstance(item, dict) else ()
    champion = "champion" in (aliases if isinstance(aliases, list) else ())
    waits = part(item).get("state") == "pending_approval"
    return {
        "promote": not champion,
        "challenger": not champion,
        "shadow": not champion,
        "rollback": champion,
        "approve": waits,
        "reject": waits,
        "reproduce": part(item).get("run_id") is not None,
    }[action]


def consequences(action: str, item: Any, aliases: Sequence[Json]) -> list[str]:
    """Return what an action will do, in sentences, before it is done."""
    name, number = text(part(item).get("model")), text(part(item).get("version"))
    now = {text(one.get("name")): text(one.get("version")) for one in aliases}
    champion, previous = now.get("champion"), now.get("previous")
    quickly = "Predictors follow within about 5 seconds; no request fails meanwhile."
    gate = text(part(item, "gate").get("summary"), "")
    refused = [] if part(item).get("passed") is True or not gate else [f"Mind that the gate has it {gate}."]
    served = f"version {champion}" if champion else "nobody"
    if action == "promote" and champion == number:
        return [f"Version {number} is the champion of {name} already: nothing changes."]
    said: dict[str, list[str]] = {
        "promote": [
            f"Version {number} becomes the champion of {name}: it answers every request that names no version.",
            f"So far {served} answers"
            + (f"; version {champion} becomes “previous” and can be rolled back to." if champion else "."),
            quickly,
            *refused,
        ],
        "challenger": [
            f"Version {number} answers the share of {name}'s requests that you choose, the same callers each time.",
            f"The rest is answered by {served} as before." if champion else "Nothing else answers so far.",
            quickly,
            *refused,
        ],
        "shadow": [
            f"Version {number} scores the share of {name}'s requests that you choose, after {served} answered them.",
            "Nobody gets its answers: how far they differ is on the quality page.",
            *refused,
        ],
        "rollback": [
            f"The champion of {name} moves back from version {number} to version {previous}."
            if previous
            else "There is no previous version to move back to; this will be refused.",
            f"Version {number} becomes “previous”: a second rollback undoes the first.",
            quickly,
        ],
        "approve": [
            f"Version {number} becomes the champion of {name} in place of {served}.",
            "If another champion serves by now than the one it was judged against, this is refused.",
            quickly,
        ],
        "reject": [f"Version {number} stays callable by its number, and does not become champion of {name}."],
        "reproduce": [
            f"A trainer fits version {number} again from its lineage and compares the bytes.",
            "No new version comes of it, and nothing that is served changes.",
        ],
    }
    return [*said[action], "The change is written into the audit log with your key."]


@dataclass(frozen=True)
class Side:
    """A metric of two versions: name, both values with intervals, and which is better (0, 1 or none)."""

    name: str
    values: tuple[str, str]
    better: int | None


@dataclass(frozen=True)
class Comparison:
    """Two versions side by side."""

    titles: tuple[str, str]
    rows: tuple[models.Version, models.Version]
    metrics: tuple[Side, ...]
    pictures: tuple[str, ...]
    facts: tuple[tuple[str, str, str], ...]
    same_rows: bool


def compare(left: Any, right: Any, higher_is_better: frozenset[str], now: datetime) -> Comparison:
    """Return two versions' reports side by side. Metrics are each of its own test rows, as ``same_rows`` tells."""
    sides = (part(left), part(right))
    items_ = tuple(part(side, "version") for side in sides)
    metrics = tuple(part(side, "report", "metrics") or _plain(part(side, "version", "metrics")) for side in sides)
    names = [name for name in metrics[0] if name in metrics[1] and name not in {"loss", "parity"}]
    numbers = tuple(text(item.get("version")) for item in items_)
    tested = [tuple(part(item, "holdout").get(key) for key in ("test_from_seq", "test_upto_seq")) for item in items_]
    return Comparison(
        titles=(f"version {numbers[0]}", f"version {numbers[1]}"),
        rows=(models.version(items_[0], now), models.version(items_[1], now)),
        metrics=tuple(_side(name, metrics, higher_is_better) for name in names),
        pictures=tuple(_pictures(sides, numbers)),
        facts=tuple((name, _fact(left), _fact(right)) for name, (left, right) in _facts(items_)),
        same_rows=tested[0] == tested[1] and tested[0][0] is not None,
    )


def _fact(value: Any) -> str:
    return text(None) if isinstance(value, dict | list) else figure(value)


def _plain(metrics: Json) -> dict[str, Any]:
    return {name: {"value": value, "low": None, "high": None} for name, value in metrics.items()}


def _side(name: str, metrics: tuple[Json, ...], higher_is_better: frozenset[str]) -> Side:
    said, plain = [], []
    for of in (part(metrics[0], name), part(metrics[1], name)):
        value, low, high = of.get("value"), of.get("low"), of.get("high")
        interval = "" if low is None or high is None else f" ({figure(low)} to {figure(high)})"
        said.append(f"{figure(value)}{interval}")
        plain.append(value if isinstance(value, int | float) else None)
    better = None
    if plain[0] is not None and plain[1] is not None and plain[0] != plain[1]:
        better = int((plain[1] > plain[0]) == (name in higher_is_better))
    return Side(name.replace("_", " "), (said[0], said[1]), better)


def _pictures(sides: tuple[Json, ...], numbers: tuple[str, ...]) -> list[str]:
    wanted = (
        ("roc", "ROC", "false positive rate", "true positive rate", True),
        ("pr", "Precision and recall", "recall", "precision", False),
        ("calibration", "Calibration", "mean probability", "share that was true", True),
    )
    made = []
    for key, title, x, y, diagonal in wanted:
        curves = []
        for side, number in zip(sides, numbers, strict=True):
            for one in items(part(side, "report", "curves"), key)[:1]:
                points = [
                    (float(point[0]), float(point[1]))
                    for point in one.get("points") or ()
                    if isinstance(point, list) and len(point) >= 2 and is_number(point[0]) and is_number(point[1])
                ]
                curves.append(Curve(f"version {number}, {text(one.get('class'))}", points))
        if len(curves) == 2:
            made.append(as_svg(Chart(title, x, y, curves, diagonal=diagonal)))
    return made


def _facts(found: tuple[Json, ...]) -> list[tuple[str, list[Any]]]:
    def both(name: str, *path: str) -> tuple[str, list[Any]]:
        return name, [part(item, *path[:-1]).get(path[-1]) for item in found]

    return [
        both("Rows in the snapshot", "snapshot_rows"),
        both("Rows it was fitted on", "holdout", "fit_rows"),
        both("Rows it was tested on", "holdout", "test_rows"),
        both("Bytes of the artifact", "size_bytes"),
        both("Microseconds for a row, in the gate", "gate", "cost", "latency_us"),
        both("Passed the gate", "passed"),
    ]
