"""One stack for the whole session, and tables that a model can learn."""

from __future__ import annotations

import csv
import io
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stack import Stack

COLUMNS = [
    {"name": "id", "type": "int", "role": "key", "nullable": False},
    {"name": "age", "type": "int"},
    {"name": "income", "type": "float"},
    {"name": "city", "type": "category"},
    {"name": "seen_at", "type": "timestamp", "role": "event_time"},
    {"name": "bought", "type": "bool", "role": "label"},
]
START = datetime(2026, 1, 1, tzinfo=UTC)
CITIES = ["Bern", "Genf", "Zürich"]


class Shoppers:
    """An endless table in the order of time: whether a shopper buys depends on age and city, with noise."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._next_id = 0

    def rows(self, count: int, *, shuffled: bool = False) -> list[dict]:
        """Return the next ``count`` rows; with ``shuffled`` the label says nothing."""
        rng = self._rng
        age, city = rng.integers(18, 80, count), rng.integers(0, 3, count)
        score = (age - 50) / 12 + 1.5 * (city == 2) - 0.5 + rng.normal(0, 0.7, count)
        label = rng.permutation(score > 0) if shuffled else score > 0
        first, self._next_id = self._next_id, self._next_id + count
        return [
            {
                "id": first + i,
                "age": int(age[i]) if rng.random() > 0.05 else None,
                "income": float(np.round(rng.normal(5000, 900), 2)),
                "city": CITIES[city[i]],
                "seen_at": (START + timedelta(minutes=first + i)).isoformat(),
                "bought": bool(label[i]),
            }
            for i in range(count)
        ]


def as_csv(rows: list[dict]) -> bytes:
    """Return rows as CSV with a header; None is the empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(
        {k: "" if v is None else str(v).lower() if isinstance(v, bool) else v for k, v in r.items()} for r in rows
    )
    return text.getvalue().encode()


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """A running stack that all tests of this folder share; each uses a dataset of its own."""
    running = Stack(tmp_path_factory.mktemp("stack") / "data")
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def elsewhere(tmp_path):
    """A stack in another data directory, with ports of its own; nothing runs there yet."""
    stack = Stack(tmp_path / "elsewhere" / "data")
    yield stack
    if stack.process is not None and stack.process.poll() is None:
        assert stack.stop() == 0


@pytest.fixture
def shoppers(request):
    """Rows that differ from test to test, and not from run to run."""
    return Shoppers(sum(request.node.name.encode()))
