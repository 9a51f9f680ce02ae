"""Curves as inline SVG: shapes and text only, no script, no reference to anything outside.

Looks are the page's, by class: ``l`` a line, ``p`` a point, ``a`` the axes, ``d`` the diagonal, ``s0`` to ``s4`` the
colour (and dashes) of a curve.
"""

from __future__ import annotations

from html import escape
from math import ceil, floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.card.document import Chart

_WIDTH, _HEIGHT, _MARGIN, _TOP = 420, 320, 48, 26
_LOOKS = 5
_TICKS = 5
#: Values beyond are drawn at the edge; values nearer to each other than this are drawn as one.
_MOST, _LEAST_SHARE, _LEAST = 1e300, 1e-9, 1e-290
#: Of larger spans the whole numbers are too long to stand side by side.
_MOST_COUNTED = 1e7


class _Axis:
    """From values to places on the page."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self.low, self.high = (max(-_MOST, min(_MOST, end)) for end in (min(values), max(values)))
        room = max(_LEAST_SHARE * max(abs(self.low), abs(self.high)), _LEAST)
        if self.high / 2 - self.low / 2 < room:  # one value, or as good as one
            self.low, self.high = self.low - max(room, 0.5), self.high + max(room, 0.5)
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        # In halves, for the span of values near the end of the floats is not finite.
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return round(self._begin + max(0.0, min(1.0, share)) * (self._end - self._begin), 1)

    def marks(self, *, counted: bool = False) -> list[tuple[float, str]]:
        """Return what stands beside the axis, and where: of things that are ``counted`` whole numbers only."""
        half = self.high / 2 - self.low / 2
        if counted and 1 <= 2 * half < _MOST_COUNTED:
            step = ceil(2 * half / _TICKS)
            places = range(ceil(self.low), floor(self.high) + 1)
            shown = places[::step] if self.low >= 0 else places[::-step][::-1]  # what lies behind ends with now
            return [(float(value), f"{value:,}") for value in shown]
        values = [self.low + (self.high / _TICKS - self.low / _TICKS) * i for i in range(_TICKS + 1)]
        return [(value, f"{value:.3g}") for value in values]


def as_svg(chart: Chart) -> str:
    """Return the chart as one ``<svg>`` element."""
    points = [point for curve in chart.curves for point in curve.points]
    if not points:
        return ""
    reach = [(0.0, 0.0), (1.0, 1.0)] if chart.diagonal and not chart.dots else []
    x = _Axis([p[0] for p in [*points, *reach]], _MARGIN, _WIDTH - 12)
    y = _Axis([p[1] for p in [*points, *reach]], _HEIGHT - _MARGIN, _TOP)
    drawn = [*_frame(x, y, counted=all(p[0] == round(p[0]) for p in points))]
    if chart.diagonal:
        low, high = max(x.low, y.low), min(x.high, y.high)
        if low < high:
            drawn.append(f'<line class="d" x1="{x(low)}" y1="{y(low)}" x2="{x(high)}" y2="{y(high)}"/>')
    for number, curve in enumerate(chart.curves):
        look = f"s{number % _LOOKS}"
        places = [(x(a), y(b)) for a, b in curve.points]
        if chart.dots:
            drawn += [f'<circle class="p {look}" cx="{a}" cy="{b}" r="2.5"/>' for a, b in places]
        else:
            line = " ".join(f"{a},{b}" for a, b in places)
            drawn.append(f'<polyline class="l {look}" points="{line}"/>')
        drawn.append(_text(_WIDTH - 16, _HEIGHT - _MARGIN - 8 - 15 * number, curve.name, "end", look))
    drawn.append(_text((_WIDTH + _MARGIN) / 2, _HEIGHT - 8, chart.x, "middle"))
    drawn.append(_text(4, 12, chart.y, "start"))
    title = escape(chart.title)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{''.join(drawn)}</svg>"
    )


def _frame(x: _Axis, y: _Axis, *, counted: bool) -> list[str]:
    bottom, left = _HEIGHT - _MARGIN, _MARGIN
    drawn = [f'<path class="a" d="M{left},{_TOP}V{bottom}H{_WIDTH - 12}"/>']
    drawn += [_text(x(value), bottom + 16, words, "middle") for value, words in x.marks(counted=counted)]
    drawn += [_text(left - 6, y(value) + 4, words, "end") for value, words in y.marks()]
    return drawn


def _text(x: float, y: float, words: str, anchor: str, look: str = "") -> str:
    looks = f' class="{look}"' if look else ""
    return f'<text{looks} x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
