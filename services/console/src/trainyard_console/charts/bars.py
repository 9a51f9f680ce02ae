"""Small pictures of bars: what came lately, how values are spread, what pushed an answer up or down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPARK_WIDTH, _SPARK_HEIGHT = 120, 28
_ROW, _WIDTH, _NAMES, _NUMBERS = 22, 640, 200, 70


def spark(values: Sequence[float], title: str) -> Markup:
    """Return bars side by side, the newest at the right; nothing for no values."""
    if not values:
        return Markup()
    most = max(*values, 1e-12)
    step = _SPARK_WIDTH / max(len(values), 12)
    drawn = Markup().join(
        Markup('<rect x="{}" y="{}" width="{}" height="{}"/>').format(
            round(i * step, 1),
            round(_SPARK_HEIGHT - high, 1),
            round(step * 0.8, 1),
            round(high, 1),
        )
        for i, value in enumerate(values)
        for high in [max(1.0, max(value, 0.0) / most * _SPARK_HEIGHT)]
    )
    return _svg("spark", _SPARK_WIDTH, _SPARK_HEIGHT, title, drawn)


def strengths(rows: Sequence[tuple[str, float, str]], title: str, *, limit: float | None = None) -> Markup:
    """Return a horizontal bar for each (name, value from 0, words); ``limit`` draws a line at that value."""
    if not rows:
        return Markup()
    most = max([value for _, value, _ in rows] + [limit or 0.0, 1e-12])
    space = _WIDTH - _NAMES - _NUMBERS
    drawn = []
    for i, (name, value, said) in enumerate(rows):
        over = " over" if limit is not None and value >= limit else ""
        width = round(max(1.0, min(value / most, 1.0) * space), 1)
        drawn.append(_name(i, name))
        drawn.append(
            Markup('<rect class="bar{}" x="{}" y="{}" width="{}" height="14"/>').format(
                over, _NAMES, i * _ROW + 4, width
            )
        )
        drawn.append(Markup('<text x="{}" y="{}">{}</text>').format(round(_NAMES + width + 5, 1), i * _ROW + 15, said))
    if limit is not None:
        x = round(_NAMES + limit / most * space, 1)
        drawn.append(Markup('<line class="limit" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(x, len(rows) * _ROW))
    return _svg("chart", _WIDTH, len(rows) * _ROW + 4, title, Markup().join(drawn))


def pushes(rows: Sequence[tuple[str, float, str]], title: str) -> Markup:
    """Return a bar to the right for each (name, value, words) above zero, to the left for each below."""
    if not rows:
        return Markup()
    most = max(*(abs(value) for _, value, _ in rows), 1e-12)
    middle = _NAMES + (_WIDTH - _NAMES) / 2
    space = (_WIDTH - _NAMES) / 2 - _NUMBERS
    drawn = [Markup('<line class="axis" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(middle, len(rows) * _ROW)]
    for i, (name, value, said) in enumerate(rows):
        width = round(max(1.0, abs(value) / most * space), 1)
        up = value >= 0
        drawn.append(_name(i, name))
        drawn.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="14"/>').format(
                "up" if up else "down", middle if up else round(middle - width, 1), i * _ROW + 4, width
            )
        )
        drawn.append(
            Markup('<text x="{}" y="{}"{}>{}</text>').format(
                round(middle + width + 5 if up else middle - width - 5, 1),
                i * _ROW + 15,
                Markup("") if up else Markup(' text-anchor="end"'),
                said,
            )
        )
    return _svg("chart", _WIDTH, len(rows) * _ROW + 4, title, Markup().join(drawn))


def _name(i: int, name: str) -> Markup:
    short = name if len(name) <= 28 else f"{name[:27]}…"
    return Markup('<text class="name" x="{}" y="{}" text-anchor="end">{}</text>').format(
        _NAMES - 8, i * _ROW + 15, short
    )


def _svg(kind: str, width: int, height: int, title: str, drawn: Markup) -> Markup:
    return Markup(
        '<svg class="{0}" viewBox="0 0 {1} {2}" role="img" aria-label="{3}"><title>{3}</title>{4}</svg>'
    ).format(kind, width, height, escape(title), drawn)
