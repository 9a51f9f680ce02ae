"""What a card consists of, before it is Markdown or HTML: sections of paragraphs, tables and curves, all plain text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """Lines of cells under titles; numbers are text already."""

    titles: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Curve:
    """A named line through points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Curves over one pair of axes. ``diagonal``: draw y = x to compare with; ``dots``: the points are not joined."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    diagonal: bool = False
    dots: bool = False


Block = Words | Table | Chart


@dataclass(frozen=True)
class Section:
    """Blocks under a title."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole card."""

    title: str
    sections: Sequence[Section]


def figure(value: object) -> str:
    """Return a number as a reader wants it, four significant digits; a dash for what is not known."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def facts(pairs: Sequence[tuple[str, object]]) -> Table:
    """Return a table of two columns, without what is not known."""
    return Table(("", ""), [(name, figure(value)) for name, value in pairs if value is not None])
