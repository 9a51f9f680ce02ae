"""Models: what they may be, how their policy changes, and how they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.errors import Problem, ServiceError
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
    ("name", "body", "problems"),
    [
        ("N" * 200, {"dataset": 1, "label": "", "task": "g" * 200}, [
            ("name", "a lower-case letter, then letters, digits or _, at most 48", "N" * 120),
            ("dataset", "text", "1"),
            ("label", "text", "''"),
            ("task", "one of auto, binary, multiclass, regression", "'" + "g" * 119),
        ]),
        ("late", {**LATE, "label": 3, "policy": {"priority": "high"}}, [
            ("label", "text", "3"),
            ("policy.priority", "a whole number from -100 to 100", "'high'"),
        ]),
        ("late", {**LATE, "label": "n" * 200}, [("label", "a column of flights: late, delay, id", "n" * 120)]),
        ("late", {"dataset": "wide", "label": "x"}, [("label", "a column of wide: " + "y" * 400, "x")]),
        ("late", {**LATE, "label": "id"}, [
            ("label", "a column that is neither key, event time nor group", "id (key)")
        ]),
        ("late", {**LATE, "task": "regression", "policy": {"cron": "x"}}, [
            ("label", "for task regression a column of int, float", "bool"),
            ("policy.cron", 'five fields such as "0 2 * * *" (minute, hour, day, month, weekday; UTC), or null', "'x'"),
        ]),
        ("late", {**LATE, "policy": {"columns": {"exclude": ["late"], "include": ["weather"]}}}, [
            ("policy.columns.exclude", "a feature of flights: delay", "late"),
            ("policy.columns.include", "a feature of flights: delay", "weather"),
        ]),
        ("late", {**LATE, "label": "delay", "task": "binary"}, [
            ("label", "for task binary a column of bool, int, text, category", "float")
        ]),
        ("late", {**LATE, "policy": {"cron": "0 0 1 13 *"}}, [
            ("policy.cron", "a cron expression in UTC (month '13': its values are 1 to 12 or JAN to DEC)", "0 0 1 13 *")
        ]),
        ("late", {**LATE, "label": "delay", "task": "regression", "policy": {"metric": "auc"}}, [
            ("policy.metric", "one of auto, rmse, mae, r2", "'auc'")
        ]),
    ],
)  # fmt: skip
def test_what_no_model_can_be(
    store: MemoryStore, name: str, body: dict[str, Any], problems: list[tuple[str, str, str]]
) -> None:
    """Every problem is listed at once: where it is, what is expected, and the beginning of what came."""
    store.state.add_dataset("wide", ({"name": "y" * 500, "type": "int"},))
    with pytest.raises(ServiceError) as caught:
        put(store, body, name)
    assert (caught.value.code, caught.value.details) == ("invalid_model", [Problem(None, *found) for found in problems])


@pytest.mark.parametrize(
    ("label", "metric", "allowed"),
    [
        ("late", "rmse", "auto, roc_auc, log_loss, accuracy, f1, balanced_accuracy"),
        ("kind", "r2", "auto, roc_auc, log_loss, accuracy, f1, balanced_accuracy"),
        ("words", "mae", "auto, roc_auc, log_loss, accuracy, f1, balanced_accuracy"),
        ("kind", "roc_auc", None),
        ("kind", "auto", None),
        ("delay", "rmse", None),
        ("delay", "accuracy", None),
    ],
)
def test_the_labels_type_restricts_the_metric(store: MemoryStore, label: str, metric: str, allowed: str | None) -> None:
    """Where the label's type makes task auto a classification, a metric of amounts is refused; numbers may be both."""
    columns = tuple({"name": kind, "type": column} for kind, column in (("kind", "category"), ("words", "text")))
    store.state.add_dataset("typed", (*COLUMNS, *columns))
    body = {"dataset": "typed", "label": label, "policy": {"metric": metric}}
    if allowed is None:
        assert put(store, body)[1].policy.metric == metric
        return
    with pytest.raises(ServiceError) as caught:
        put(store, body)
    assert caught.value.details == [Problem(None, "policy.metric", f"one of {allowed}", repr(metric))]


@pytest.mark.parametrize("dataset", ["nosuch", "No Name", "d" * 99])
def test_unknown_dataset(store: MemoryStore, dataset: str) -> None:
    """A model reads a dataset that is there."""
    with pytest.raises(ServiceError) as caught:
        put(store, {**LATE, "dataset": dataset})
    assert (caught.value.code, caught.value.message) == ("unknown_dataset", f"there is no dataset {dataset[:80]!r}")


def test_the_task_stays(store: MemoryStore) -> None:
    """Who changes a policy need not repeat the task; one that is not given at first is found by the trainer."""
    assert put(store, LATE)[1].task == "auto"
    number = {"dataset": "flights", "label": "delay"}
    assert put(store, {**number, "task": "regression"}, "delay")[1].task == "regression"
    created, model = put(store, {**number, "policy": {"metric": "mae"}}, "delay")
    assert (created, model.task, model.policy.metric) == (False, "regression", "mae")


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
    for name in ("late", "N" * 99):
        with store.begin() as records, pytest.raises(ServiceError) as caught:
            model_called(records, name)
        words = f"there is no model {name[:80]!r}; create it with PUT /v1/models/{{name}}"
        assert (caught.value.code, caught.value.message) == ("unknown_model", words)


def test_what_changes_say(store: MemoryStore, journal: Callable[..., Any]) -> None:
    """Each change is one event and one audit entry, with the same subject and details."""
    put(store, {**LATE, "policy": {"priority": 1}})
    first = store.state.models[0].policy
    policy = put(store, {**LATE, "policy": {"priority": 2}})[1].policy
    with store.begin() as records:
        ident = ask(records, "late", {}, BY)[1].id
    skip = (len(store.state.events), len(store.state.audit))
    with store.begin() as records:
        delete_model(records, "late", BY)
    events, audit = journal(store)
    created = ("model/late", {"dataset": "flights", "label": "late", "task": "auto", "policy": first.to_dict()})
    assert (events[0], audit[0]) == (("model.created", *created), ("test", "model.created", *created))
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


def test_what_is_held(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change locks the model's row first, and holds its dataset; what is no name is not looked for."""
    looked: list[tuple[str, bool]] = []
    get, dataset = MemoryModels.get, MemoryModels.dataset

    def getting(room: MemoryModels, name: str, *, lock: bool = False) -> Any:
        looked.append((name, lock))
        return get(room, name, lock=lock)

    def reading(room: MemoryModels, name: str, *, hold: bool = False) -> Any:
        looked.append((name, hold))
        return dataset(room, name, hold=hold)

    monkeypatch.setattr(MemoryModels, "get", getting)
    monkeypatch.setattr(MemoryModels, "dataset", reading)
    put(store, LATE)
    assert looked == [("flights", True), ("late", True), ("late", False)]
    for do in (delete_model, lambda records, name, by: ask(records, name, {}, by)):
        looked.clear()
        with store.begin() as records:
            do(records, "late", BY)
        assert looked == [("late", True)]
        put(store, LATE)
    looked.clear()
    with pytest.raises(ServiceError, match="unknown_dataset"):
        put(store, {**LATE, "dataset": "No Name"})
    with store.begin() as records, pytest.raises(ServiceError, match="unknown_model"):
        delete_model(records, "No Name", BY)
    assert looked == []
