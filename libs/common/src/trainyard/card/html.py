"""A card as one HTML page that needs nothing else: no script, no style sheet, no picture from anywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trainyard.card.document import Chart, Words
from trainyard.card.svg import as_svg

if TYPE_CHECKING:
    from trainyard.card.document import Block, Document, Table

#: What a browser may load for the page: nothing. It goes as a header too.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;margin:.6rem 0;display:block;overflow-x:auto}
th,td{padding:.2rem .7rem;text-align:left;border-bottom:1px solid #eee;overflow-wrap:anywhere;vertical-align:top}
svg{margin:.4rem .8rem .4rem 0;font:11px system-ui,sans-serif}
svg text{fill:var(--c,#444)}.a{fill:none;stroke:#888}.d{stroke:#bbb;stroke-dasharray:4}
.l{fill:none;stroke:var(--c);stroke-width:2}.p{fill:var(--c)}
.s0{--c:#1f6feb}.s1{--c:#b84a14}.s2{--c:#1f7a43}.s3{--c:#8a4fd0}.s4{--c:#8a6508}
.l.s1{stroke-dasharray:7 3}.l.s2{stroke-dasharray:2 3}.l.s3{stroke-dasharray:9 3 2 3}.l.s4{stroke-dasharray:4 4}
"""


def as_html(card: Document) -> str:
    """Return the page; all text is escaped."""
    sections = "\n".join(
        f"<section><h2>{escape(section.title)}</h2>\n{''.join(_block(block) for block in section.blocks)}</section>"
        for section in card.sections
    )
    title = escape(card.title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style></head>\n'
        f"<body><h1>{title}</h1>\n{sections}\n</body></html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Words):
        return f"<p>{escape(block.text)}</p>\n"
    if isinstance(block, Chart):
        return as_svg(block)
    return _table(block)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in table.titles) if any(table.titles) else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in table.lines)
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>\n"
