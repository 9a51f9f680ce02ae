"""Amounts of money are told alike everywhere."""

from __future__ import annotations

import pytest

from trainyard.money import dollars, dollars_per_hour


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0.0, "$0.00"),
        (0.42, "$0.42"),
        (50, "$50.00"),
        (1234.5, "$1,234.50"),
        (0.0023, "$0.0023"),
        (0.01, "$0.01"),
        (1e-9, "<$0.0001"),
    ],
)
def test_dollars(amount: float, words: str) -> None:
    """Two digits behind the point; four where two would show nothing."""
    assert dollars(amount) == words


@pytest.mark.parametrize(
    ("price", "words"),
    [(0.1, "$0.10/h"), (0.0893, "$0.0893/h"), (2, "$2.00/h"), (0.125, "$0.125/h"), (1200.5, "$1,200.50/h")],
)
def test_prices(price: float, words: str) -> None:
    """A price keeps the digits that it is listed with."""
    assert dollars_per_hour(price) == words
