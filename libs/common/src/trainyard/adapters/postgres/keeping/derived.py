"""What was made from rows and must go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa


def forget_derived(connection: sa.Connection, dataset_id: int, first_seq: int, last_seq: int) -> None:
    """Remove what was packed or extracted from rows with these numbers, in the transaction that changes them.

    The one place to call whatever keeps copies of rows: packed column blocks, extracts on the blob store.
    """
    del connection, dataset_id, first_seq, last_seq  # nothing keeps copies yet
