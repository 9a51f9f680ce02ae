"""Forgetting: records that were of use for a while only are removed when their time is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard import logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.scheduling import Store

#: Rows of one transaction: few enough that nobody waits for its locks.
BATCH = 1_000
#: Batches of a kind in one step; the rest goes with the next.
MOST_BATCHES = 20
_DAY_SECONDS = 86_400.0
_log = logs.get(__name__)


@dataclass(frozen=True)
class Keep:
    """How long records of a kind (trainyard.contracts.upkeep.KINDS) stay, and how many of the newest for ever."""

    kind: str
    days: float
    newest: int = 0


def forget(store: Store, keeps: Sequence[Keep]) -> int:
    """Remove what is older than ``keeps`` says, in batches, each in a transaction of its own; return how many rows.

    Raises:
        TransientError: the database does not answer; what was removed so far is gone.
    """
    total = 0
    for keep in keeps:
        gone = _forget_kind(store, keep)
        if gone:
            _log.info("records.forgotten", kind=keep.kind, rows=gone)
        total += gone
    return total


def forget_predictions(store: Store, days: float) -> int:
    """Take the months that ended more than ``days`` ago out of the prediction log, one in a transaction.

    Then go labels, comparisons with shadows and what was counted.

    Returns:
        How many months, and single rows, went.

    Raises:
        TransientError: the database does not answer, or somebody reads a month that should go; the next call goes on.
    """
    total = 0
    for _ in range(MOST_BATCHES):
        with store.begin() as records:
            gone = records.upkeep.forget_predictions(older_than_seconds=days * _DAY_SECONDS, limit=BATCH)
        if gone.month is not None:
            _log.info("predictions.month_forgotten", month=gone.month)
        total += gone.rows + (gone.month is not None)
        if gone.month is None and gone.rows < BATCH:
            break
    return total + forget(store, [Keep("labels", days), Keep("shadows", days), Keep("traffic", days)])


def _forget_kind(store: Store, keep: Keep) -> int:
    gone = 0
    for _ in range(MOST_BATCHES):
        with store.begin() as records:
            batch = records.upkeep.forget(
                keep.kind, older_than_seconds=keep.days * _DAY_SECONDS, keep_newest=keep.newest, limit=BATCH
            )
        gone += batch
        if batch < BATCH:
            break
    return gone
