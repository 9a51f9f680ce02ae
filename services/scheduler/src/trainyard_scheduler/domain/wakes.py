"""Which loops an event wakes."""

from __future__ import annotations

#: Which loop an event wakes, by how its kind starts; what is not listed here is news for the publisher and the fleet.
_WAKES = {
    "outbox": ("relay",),
    "batch.": (),
    "prediction": (),
    "feedback": (),
    "run.": (),
    "request.": ("fleet",),
    "fleet.": (),
    "alarm.": ("policies",),
    "version.": ("publisher", "copies", "fleet"),
    "alias.": ("publisher", "copies", "fleet"),
}


def woken_by(kind: str) -> tuple[str, ...]:
    """Return the names of the loops that an event of this kind wakes."""
    for start, loops in _WAKES.items():
        if kind.startswith(start):
            return loops
    return ("publisher", "fleet")
