"""Messages are packed into calls that SQS takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainyard.contracts.queue import MAX_BATCH, MAX_BYTES, Outgoing, batches


@given(st.lists(st.integers(1, MAX_BYTES - 100), max_size=40))
def test_batches_fit_and_keep_order(sizes: list[int]) -> None:
    """Every message is in exactly one batch, in order, and no batch breaks a limit."""
    messages = [Outgoing("T", "x" * size) for size in sizes]
    packed = list(batches(messages))
    assert [index for batch in packed for index in batch] == list(range(len(messages)))
    for batch in packed:
        assert 1 <= len(batch) <= MAX_BATCH
        assert sum(messages[index].size_bytes for index in batch) <= MAX_BYTES


def test_size_is_counted_in_bytes() -> None:
    """A character may take several bytes; the attribute counts as well."""
    assert Outgoing("TÄ", "äx").size_bytes == 3 + len("type") + len("String") + 3
