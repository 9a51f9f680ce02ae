"""Amounts of money as people read them: ``$0.42``."""

from __future__ import annotations

#: Below this an amount is told with four digits instead of two: a training of some seconds costs so little.
_SMALL = 0.01
#: The least that four digits can tell.
_LEAST = 0.0001


def dollars(amount: float) -> str:
    """Return US dollars for a reader: ``$1,234.50``, ``$0.42``; amounts below a cent as ``$0.0023`` or ``<$0.0001``."""
    if 0.0 < amount < _LEAST:
        return f"<${_LEAST:.4f}"
    return f"${amount:,.4f}" if 0.0 < amount < _SMALL else f"${amount:,.2f}"


def dollars_per_hour(price: float) -> str:
    """Return a price for a reader, with at least two digits and at most four: ``$0.1/h`` is said ``$0.10/h``."""
    whole, _, digits = f"{price:,.4f}".partition(".")
    return f"${whole}.{digits.rstrip('0').ljust(2, '0')}/h"
