"""Every point of the matrix with every fault: the request is done once, and nothing is left over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cells import Outcome, run_cell
from matrix import CELLS, Cell

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.scenario(run=run_cell, pool="cells")
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cell(cell: Cell, outcome: Callable[[], Outcome]) -> None:
    """The fault fires, the work is done exactly once, the queues are empty and the doctor is content."""
    assert outcome().attempts in (1, 2)
