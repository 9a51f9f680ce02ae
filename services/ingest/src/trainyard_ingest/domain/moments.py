"""Dates and times that come as texts: each distinct one is judged by the schema once, long runs of new ones at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from trainyard.schema import Column, check_value
from trainyard_ingest.domain.cells import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST_KNOWN = 100_000
_MOST_BY_HAND = 200
#: What Arrow and Postgres certainly read as the schema does; the years leave room for every zone.
_PLAIN = {
    "date": r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$",
    "timestamp": r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9])$",
}
_ARROW = {"date": pa.date32(), "timestamp": pa.timestamp("us", "UTC")}


class Moments:
    """Reads texts of one column. ``kind``: ``date`` or ``timestamp``."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._column = Column("moment", kind)
        self._known: dict[str | None, str | None] = {}

    def array(self, values: Sequence[str | None], odd: set[int]) -> Any:
        """Return the values as texts that Postgres reads; the places of those that are no moments go to ``odd``."""
        new = set(values) - self._known.keys()
        if len(new) > _MOST_BY_HAND:
            array = pa.array(values, pa.string())
            if self._plain(array):
                return array
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
            new = set(values)
        self._learn(new)
        known = [self._known[value] for value in values]
        if known.count(None) != values.count(None):
            odd.update(place for place, text in enumerate(known) if text is None and values[place] is not None)
        return pa.array(known, pa.string())

    def _plain(self, array: Any) -> bool:
        if not pc.all(pc.match_substring_regex(array, _PLAIN[self._kind]), min_count=0).as_py():
            return False
        try:
            array.cast(_ARROW[self._kind])
        except pa.ArrowInvalid:
            return False
        return True

    def _learn(self, new: Iterable[str | None]) -> None:
        for text in new:
            value, expected = check_value(self._column, text)
            self._known[text] = None if expected is not None else (as_text(value, missing="") or None)
