"""Values as text: what people read in a terminal and in a notebook."""

from __future__ import annotations


def printable(value: object) -> str:
    """Return ``value`` as one line of text without control, direction or other invisible characters."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(printable(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{printable(k)} {printable(v)}" for k, v in value.items())
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)
