"""Models: what they may be, how their policy changes, and how they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.errors import ServiceError
from trainyard.testing.fakes import MemoryStore
from trainyard.testing.fakes.scheduling_registry import MemoryModels
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import delete_model, model_called, put_model
from trainyard_scheduler.use_cases.requests import ask

if TYPE_CHECKING:
    from collections.abc import Callable

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


def test_what_changes_say(store: MemoryStore, journal: Callable[..., Any]) -> None:
    """Each change is one event and one audit entry, with the same subject and details."""
    put(store, {**LATE, "policy": {"priority": 1}})
    policy = put(store, {**LATE, "policy": {"priority": 2}})[1].policy
    with store.begin() as records:
        ident = ask(records, "late", {}, BY)[1].id
    skip = (len(store.state.events), len(store.state.audit))
    with store.begin() as records:
        delete_model(records, "late", BY)
    events, audit = journal(store)
    changed = ("model/late", {"policy": policy.to_dict()})
    assert (events[1], audit[1]) == (("model.changed", *changed), ("test", "model.changed", *changed))
    gone = ("model/late", {"cancelled_requests": [ident]})
    assert ("model.deleted", *gone) in journal(store, skip)[0]
    assert ("test", "model.deleted", *gone) in journal(store, skip)[1]


def test_everything_that_differs_is_named(store: MemoryStore) -> None:
    """One conflict lists every difference."""
    put(store, LATE)
    with pytest.raises(ServiceError) as caught:
        put(store, {**LATE, "label": "delay", "task": "regression"})
    assert caught.value.message == (
        "model 'late' exists and only its policy can change: label is 'late', not 'delay'; task is 'auto',"
        " not 'regression'"
    )


def test_deleting_holds_the_model(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row is locked before its requests are cancelled."""
    put(store, LATE)
    locks: list[bool] = []
    get = MemoryModels.get

    def getting(room: MemoryModels, name: str, *, lock: bool = False) -> Any:
        locks.append(lock)
        return get(room, name, lock=lock)

    monkeypatch.setattr(MemoryModels, "get", getting)
    with store.begin() as records:
        delete_model(records, "late", BY)
    assert locks[0] is True
