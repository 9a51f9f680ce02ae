"""A card as Markdown (CommonMark with the tables of GitHub).

Text never becomes markup: what could begin any is escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trainyard.card.document import Chart, Table, Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.card.document import Block, Document

#: Whatever opens a construct, and what makes an address a link by itself: ``http://``, ``www.``, ``@``.
_MARKUP = re.compile(r"[\\`*_\[\]|~#!$@]|:(?=/)|(?<=www)\.", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def as_markdown(card: Document) -> str:
    """Return the card; curves are told by their names and first and last points, the HTML page draws them."""
    parts = [f"# {escaped(card.title)}"]
    for section in card.sections:
        parts.append(f"## {escaped(section.title)}")
        parts.extend(_block(block) for block in section.blocks)
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Return ``text`` as one line that Markdown shows as it is."""
    line = "".join(c if c.isprintable() else " " for c in text)
    line = "".join(_ENTITIES.get(c, c) for c in line)
    return _MARKUP.sub(lambda found: "\\" + found[0], line)


def _block(block: Block) -> str:
    if isinstance(block, Words):
        return escaped(block.text)
    if isinstance(block, Chart):
        names = ", ".join(f"{escaped(curve.name)} ({len(curve.points)} points)" for curve in block.curves)
        return f"*{escaped(block.title)}* ({escaped(block.x)} → {escaped(block.y)}): {names}; drawn on the HTML page."
    return _table(block)


def _table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(map(escaped, cells))} |"

    return "\n".join([line(table.titles), f"|{'---|' * len(table.titles)}", *map(line, table.lines)])
