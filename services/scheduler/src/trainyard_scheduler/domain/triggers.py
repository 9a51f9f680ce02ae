"""When to train: a policy held against the situation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Refused:
    """The newest request that ended without using its rows up: failed or cancelled."""

    state: str
    upto_seq: int


@dataclass(frozen=True)
class Situation:
    """What a policy is evaluated on.

    Attributes:
        last_seq: the newest committed row of the dataset.
        used_seq: the newest row of any request that was neither failed nor cancelled; 0 at first.
        open_request: the id of the model's open request.
        refused: the newest failed or cancelled request.
    """

    last_seq: int
    used_seq: int
    open_request: str | None
    refused: Refused | None


@dataclass(frozen=True)
class Verdict:
    """Whether to train, why, and the numbers behind it."""

    fired: bool
    reason: str
    numbers: Mapping[str, Any]

    @property
    def new_rows(self) -> int:
        """Rows that no request has used."""
        rows: int = self.numbers["new_rows"]
        return rows


def evaluate(min_new_rows: int | None, now: Situation) -> Verdict:
    """Decide whether the policy asks for a training."""
    new_rows = max(now.last_seq - now.used_seq, 0)
    numbers = {"new_rows": new_rows, "min_new_rows": min_new_rows, "upto_seq": now.last_seq}
    rows = "row" if new_rows == 1 else "rows"
    if min_new_rows is None:
        return Verdict(False, "not fired: the policy trains by hand only (min_new_rows is null)", numbers)
    if now.open_request is not None:
        return Verdict(
            False,
            f"not fired: a request is open already; {new_rows:,} new {rows} wait",
            {**numbers, "open_request": now.open_request},
        )
    if new_rows < min_new_rows:
        return Verdict(False, f"not fired: {new_rows:,} of {min_new_rows:,} new rows", numbers)
    if now.refused is not None and now.refused.upto_seq >= now.last_seq:
        return Verdict(
            False, f"not fired: the request for these rows was {now.refused.state}; waiting for newer rows", numbers
        )
    return Verdict(True, f"fired: {new_rows:,} of {min_new_rows:,} new rows", numbers)
