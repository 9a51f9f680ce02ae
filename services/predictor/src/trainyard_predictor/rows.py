"""Rows that came as columns of numbers: whoever wants rows gets them, whoever wants columns has them."""

from __future__ import annotations

from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Table(Sequence[dict[str, "Any"]]):
    """A sequence of rows over ``columns``: arrays of float64 (n,), NaN where a value is missing."""

    def __init__(self, columns: Mapping[str, Any], n_rows: int) -> None:
        self.columns = columns
        self._n_rows = n_rows

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(self._n_rows))]
        if not -self._n_rows <= at < self._n_rows:
            raise IndexError(at)
        values = {name: column[at].item() for name, column in self.columns.items()}
        return {name: None if value != value else value for name, value in values.items()}  # noqa: PLR0124 - NaN
