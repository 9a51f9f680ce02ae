"""Models: what they may be, how their policy changes, and how they go."""

from __future__ import annotations

from typing import Any

import pytest

from trainyard.clock import ManualClock
from trainyard.errors import ServiceError
from trainyard.testing.fakes import MemoryStore
from trainyard.testing.fakes.scheduling_registry import MemoryModels
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import delete_model, model_called, put_model
from trainyard_scheduler.use_cases.requests import ask

BY = By("test", "trace")
COLUMNS = (
    {"name": "late", "type": "bool", "role": "label"},
    {"name": "delay", "type": "float"},
    {"name": "id", "type": "int", "role": "key"},
)
LATE = {"dataset": "flights", "label": "late"}


@pytest.fixture
def store() -> MemoryStore:
    """One dataset with rows."""
    store = MemoryStore(ManualClock())
    store.state.add_dataset("flights", COLUMNS)
    store.state.add_rows("flights", 5)
    return store


def put(store: MemoryStore, body: dict[str, Any], name: str = "late") -> tuple[bool, Any]:
    """Put a model."""
    with store.begin() as records:
        return put_model(records, name, body, BY)


def test_put_and_put_again(store: MemoryStore) -> None:
    """It is created once; another policy is a change, the same one is none."""
    assert put(store, LATE)[0]
    created, model = put(store, {**LATE, "policy": {"priority": 4, "max_age": "24h"}})
    assert (created, model.policy.priority, model.policy.max_age) == (False, 4, 86_400.0)
    assert put(store, LATE)[1].policy == model.policy
    assert put(store, {**LATE, "policy": {"priority": 4, "max_age": 86_400}})[1].policy == model.policy
    assert [entry.action for entry in store.state.audit] == ["model.created", "model.changed"]
    assert [event.kind for event in store.state.events] == ["model.created", "model.changed"]


@pytest.mark.parametrize(
    ("name", "body", "columns"),
    [
        ("No Name", {"dataset": 1, "label": "", "task": "guess"}, ["name", "dataset", "label", "task"]),
        ("late", {**LATE, "label": 3, "policy": {"priority": "high"}}, ["label", "policy.priority"]),
        ("late", {**LATE, "label": "nosuch"}, ["label"]),
        ("late", {**LATE, "label": "id"}, ["label"]),
        ("late", {**LATE, "task": "regression", "policy": {"cron": "x"}}, ["label", "policy.cron"]),
        ("late", {**LATE, "label": "delay", "task": "binary"}, ["label"]),
        ("late", {**LATE, "policy": {"cron": "0 0 30 2 *"}}, ["policy.cron"]),
    ],
)
def test_what_no_model_can_be(store: MemoryStore, name: str, body: dict[str, Any], columns: list[str]) -> None:
    """Every problem is listed at once."""
    with pytest.raises(ServiceError) as caught:
        put(store, body, name)
    assert (caught.value.code, [p.column for p in caught.value.details]) == ("invalid_model", columns)


@pytest.mark.parametrize("dataset", ["nosuch", "No Name"])
def test_unknown_dataset(store: MemoryStore, dataset: str) -> None:
    """A model reads a dataset that is there."""
    with pytest.raises(ServiceError, match="unknown_dataset"):
        put(store, {**LATE, "dataset": dataset})


def test_only_the_policy_changes(store: MemoryStore) -> None:
    """Another label is a conflict that names what differs; so is a name that somebody takes in the same moment."""
    put(store, LATE)
    with pytest.raises(ServiceError, match="label is 'late', not 'delay'"):
        put(store, {**LATE, "label": "delay"})


def test_a_name_that_was_just_taken(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unique index that refuses is a conflict to repeat."""
    monkeypatch.setattr(MemoryModels, "add", lambda *_, **__: False)
    with pytest.raises(ServiceError, match="send the PUT again"):
        put(store, LATE)


def test_delete(store: MemoryStore) -> None:
    """Its open requests are cancelled with that reason; then nobody knows it."""
    put(store, LATE)
    with store.begin() as records:
        ident = ask(records, "late", {}, BY)[1].id
        delete_model(records, "late", BY)
    record = store.state.requests[ident].record
    assert (record.state, record.outcome) == ("cancelled", "cancelled: the model was deleted")
    for name in ("late", "No Name"):
        with store.begin() as records, pytest.raises(ServiceError, match="unknown_model"):
            model_called(records, name)
