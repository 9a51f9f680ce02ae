"""Changes that are made once, however often they are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import ManualClock
from trainyard.contracts.idempotency import Repeatable
from trainyard.errors import ServiceError
from trainyard.testing.fakes import MemoryStore
from trainyard_scheduler.use_cases.answers import Outcome, once

if TYPE_CHECKING:
    from trainyard.contracts.scheduling import Records

POST = Repeatable("/v1/keys", "admin", "k-1", "00" * 32)


class Counter:
    """A change that counts how often it is made."""

    def __init__(self, repeat: object = None) -> None:
        self.made = 0
        self.repeat = repeat

    def __call__(self, records: Records) -> Outcome:
        self.made += 1
        records.journal.announce("counted", "counter", {})
        return Outcome(201, {"made": self.made}, self.repeat)


@pytest.fixture
def store() -> MemoryStore:
    """No answers yet."""
    return MemoryStore(ManualClock())


def test_without_a_key_every_call_is_a_change(store: MemoryStore) -> None:
    """What names no key is made each time, and its answer is not kept."""
    change = Counter()
    assert [once(store, None, change) for _ in range(2)] == [(201, b'{"made":1}'), (201, b'{"made":2}')]
    assert store.state.answers == {}


@pytest.mark.parametrize(
    ("repeat", "second"),
    [(None, b'{"made":1}'), ({"secret": "shown once"}, b'{"secret":"shown once"}'), ([], b"[]"), ({}, b"{}")],
)
def test_a_repeat_gets_the_first_answer(store: MemoryStore, repeat: object, second: bytes) -> None:
    """The change is made once; a repeat gets the kept answer, which may say less than the first; other keys change."""
    change = Counter(repeat)
    assert [once(store, POST, change) for _ in range(3)] == [(201, b'{"made":1}'), (201, second), (201, second)]
    assert (change.made, len(store.state.events)) == (1, 1)
    assert once(store, replace(POST, key="k-2"), change) == (201, b'{"made":2}')


def test_a_key_with_another_body(store: MemoryStore) -> None:
    """A key stands for one body."""
    once(store, POST, Counter())
    with pytest.raises(ServiceError, match="key_reused"):
        once(store, replace(POST, body_sha256="11" * 32), Counter())
