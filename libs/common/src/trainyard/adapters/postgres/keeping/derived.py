"""What was made from rows and must go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.adapters.postgres import blocks

if TYPE_CHECKING:
    import sqlalchemy as sa


def forget_derived(connection: sa.Connection, dataset_id: int, first_seq: int, last_seq: int) -> None:
    """Remove what was packed from rows with these numbers, in the transaction that changes them.

    The one place to call whatever keeps copies of rows in the database. Extracts in the object store are out of a
    transaction's reach: the scheduler's sweeper removes those of versions that are marked.
    """
    blocks.forget(connection, dataset_id, first_seq, last_seq)
