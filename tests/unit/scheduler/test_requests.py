"""Requests by hand, their end, and why they wait."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.scheduler.request_scene import BY, NOWHERE, RULES, SPEC, Scene

from trainyard.contracts.launches import CAPACITY, Usage
from trainyard.contracts.requests import NewRequest
from trainyard.errors import Problem, ServiceError
from trainyard.testing.fakes.scheduling_fleet import MemoryLaunches
from trainyard.testing.fakes.scheduling_requests import MemoryRequests
from trainyard_scheduler.use_cases.explain import explained
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask, is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


# --- asking and cancelling ---


def test_ask(scene: Scene) -> None:
    """What is not given is as the policy says; asked again for the same rows it is the same request."""
    created, request = scene.ask({"seed": 4}, priority=-2, spot=True)
    assert created
    assert (request.reason, request.upto_seq, request.new_rows) == ("by_hand", 10, 10)
    assert (request.priority, request.instance_types, request.spot) == (-2, ["c7i.large"], True)
    assert (request.settings["seed"], request.settings["budget_seconds"]) == (4, 60.0)
    assert scene.ask() == (False, request)
    scene.store.state.add_rows("flights", 1)
    assert scene.ask()[1].new_rows == 1
    assert [entry.action for entry in scene.store.state.audit[-2:]] == ["request.create"] * 2
    assert scene.store.state.events[-1].kind == "request.created"


@pytest.mark.parametrize(
    ("settings", "place", "columns"),
    [
        ({"cron": "* * * * *", "priority": 5}, {}, ["settings.cron", "settings.priority"]),
        ({"budget_seconds": 0}, {"priority": 500, "instance_types": 3, "spot": "no"},
         ["settings.budget_seconds", "priority", "instance_types", "spot"]),
        ({"what": 1}, {}, ["settings.what"]),
        ({"gate": {"min_rows": 0, "x": 1}}, {}, ["settings.gate.x", "settings.gate.min_rows"]),
        ({"gate": 1, "w" * 99: 1}, {}, ["settings.gate", "settings." + "w" * 80]),
        ([], {}, ["settings"]),
        ("x", {"priority": None}, ["settings", "priority"]),
    ],
)  # fmt: skip
def test_ask_for_what_cannot_be(scene: Scene, settings: object, place: dict[str, Any], columns: list[str]) -> None:
    """Every problem is listed; keys of the policy are no settings of a request."""
    with pytest.raises(ServiceError) as caught:
        scene.ask(settings, **place)
    assert (caught.value.code, [p.column for p in caught.value.details]) == ("invalid_model", columns)
    assert scene.store.state.requests == {}


def test_the_metric_is_one_of_the_task(scene: Scene) -> None:
    """What a classifier is measured by says nothing about numbers."""
    with scene.store.begin() as records:
        put_model(records, "numbers", {"dataset": "flights", "label": "x", "task": "regression"}, BY)
        with pytest.raises(ServiceError) as caught:
            ask(records, "numbers", {"metric": "auc"}, BY)
    assert caught.value.details == [Problem(None, "settings.metric", "one of auto, rmse, mae, r2", "'auc'")]
    with pytest.raises(ServiceError) as caught:
        scene.ask({"metric": "rmse"})  # task auto, but the label is yes or no
    allowed = "one of auto, roc_auc, log_loss, accuracy, f1, balanced_accuracy"
    assert caught.value.details == [Problem(None, "settings.metric", allowed, "'rmse'")]


def test_what_is_asked_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked is written down, and no more rows count as new than there are; labels are not counted for it."""
    added: list[NewRequest] = []
    counted: list[bool] = []
    add, standing = MemoryRequests.add, MemoryRequests.standing

    def adding(room: MemoryRequests, request: NewRequest) -> Any:
        added.append(request)
        return add(room, request)

    def looking(room: MemoryRequests, model_id: int, *, labels: bool) -> Any:
        counted.append(labels)
        return replace(standing(room, model_id, labels=labels), used_seq=12)

    monkeypatch.setattr(MemoryRequests, "add", adding)
    monkeypatch.setattr(MemoryRequests, "standing", looking)
    scene.ask()
    policy = scene.store.state.models[0].policy
    model_id = scene.store.state.models[0].id
    expected = NewRequest(model_id, "by_hand", 10, 0, policy.settings(), "test", "trace", 3, ("c7i.large",), None)
    assert (added, counted) == ([expected], [False])


def test_what_is_expected_of_settings(scene: Scene) -> None:
    """Each problem says what may stand there instead, in words of the request."""
    with pytest.raises(ServiceError) as caught:
        scene.ask({"cron": "* * * * *", "x": 1}, priority=101)
    keys = "one of the keys budget_seconds, metric, seed, gate, budget_trials, kinds, leakage, columns, search_workers"
    assert caught.value.message == "3 problem(s) with what the request asks for"
    assert caught.value.details == [
        Problem(None, "settings.cron", keys, "a key of the policy only"),
        Problem(None, "settings.x", keys, "an unknown key"),
        Problem(None, "priority", "a whole number from -100 to 100", "101"),
    ]


def test_ask_without_rows() -> None:
    """There is nothing to learn from."""
    scene = Scene()
    scene.store.state.add_rows("flights", -10)
    with pytest.raises(ServiceError, match="no rows yet"):
        scene.ask()


def test_ask_beside_another_road(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unique index that refuses is a conflict to repeat."""
    monkeypatch.setattr(MemoryRequests, "add", lambda *_: None)
    with pytest.raises(ServiceError) as caught:
        scene.ask()
    assert caught.value.message == "another request for the same rows was made just now; ask again"


def test_cancel_what_nobody_holds(scene: Scene) -> None:
    """It ends at once, with words; twice is once; the audit log has one entry."""
    _, request = scene.ask()
    cancelled = scene.cancel(request.id)
    assert (cancelled.state, cancelled.outcome) == ("cancelled", "cancelled on request, while no trainer held it")
    assert scene.cancel(request.id) == cancelled
    assert [entry.details["at_once"] for entry in scene.store.state.audit if entry.action == "request.cancel"] == [True]


def test_cancel_what_is_held(scene: Scene) -> None:
    """Its trainer is asked, once; when that one has vanished, asking again ends the request."""
    _, request = scene.ask()
    scene.claim(request.id)
    asked = scene.cancel(request.id)
    assert (asked.state, asked.cancel_requested) == ("running", True)
    scene.clock.advance(60)
    assert scene.cancel(request.id).state == "running"
    scene.clock.advance(1)
    assert scene.cancel(request.id).state == "cancelled"
    assert [run.state for run in scene.store.state.runs] == ["lost"]
    assert [entry.details["at_once"] for entry in scene.store.state.audit if entry.action == "request.cancel"] == [
        False,
        True,
    ]


def test_cancel_what_has_ended(scene: Scene) -> None:
    """There is nothing to cancel, and nothing of that name."""
    _, request = scene.ask()
    scene.claim(request.id)
    scene.store.state.finish(request.id)
    with pytest.raises(ServiceError) as caught:
        scene.cancel(request.id)
    assert str(caught.value) == (
        "conflict: the request has ended already: it is done (version 1 came of it); there is nothing to cancel"
    )
    scene.store.state.add_rows("flights", 1)
    for why, told in ((None, ""), ("out of\n  memory", " (out of memory)"), ("x" * 201, f" ({'x' * 200})")):
        _, failed = scene.ask()
        scene.store.state.end(failed.id, "failed", why)
        with pytest.raises(ServiceError) as caught:
            scene.cancel(failed.id)
        assert caught.value.message == (
            f"the request has ended already: it is failed{told}; there is nothing to cancel;"
            " to have it trained after all, ask for a new one"
        )
    for ident in (NOWHERE, "x", request.id[:-1]):
        with pytest.raises(ServiceError, match="unknown_request"):
            scene.cancel(ident)


def test_is_uuid() -> None:
    """The usual form only."""
    assert is_uuid(NOWHERE)
    assert is_uuid(NOWHERE.upper())
    assert not is_uuid(NOWHERE.replace("-", ""))
    assert not is_uuid("x")


# --- why it waits ---


def test_explanation_has_the_facts(scene: Scene) -> None:
    """The answer names the request and everything it rests on, for a request and for its run."""
    _, request = scene.ask()
    scene.relay()
    scene.clock.advance(7)
    waiting = scene.explain(request.id)
    assert (waiting["code"], waiting["state"], waiting["waited_seconds"]) == ("waiting_for_instance", "queued", 7.0)
    assert waiting["queue"] == {"ahead": 0, "waiting": 1, "running": 0, "mean_seconds": None}
    assert waiting["message"] == {
        "unsent": False,
        "sends": 1,
        "sent_seconds_ago": 7.0,
        "next_resend_seconds": 113.0,
    }
    assert (waiting["priority"], waiting["instance_types"], waiting["attempts"]) == (3, ["c7i.large"], [])
    assert waiting["fleet"] == {
        "idle": 0,
        "busy": 0,
        "starting": 0,
        "unsuited": 0,
        "instances": 0,
        "fleet_max": 2,
        "refusals": 0,
        "last_refusal": None,
        "last_refusal_seconds_ago": None,
        "next_launch_seconds": None,
        "cap": None,
    }
    scene.claim(request.id)
    (run,) = scene.store.state.runs
    held = scene.explain(run.id)
    assert (held["request_id"], held["code"]) == (request.id, "held_by_worker")
    assert held["lease"] == {"holder": "test", "seconds_left": 60.0}
    assert [attempt["run_id"] for attempt in held["attempts"]] == [run.id]


def test_explanation_of_nothing(scene: Scene) -> None:
    """What is neither request nor run is unknown."""
    for ident in (NOWHERE, "x"):
        with pytest.raises(ServiceError, match="unknown_request"):
            scene.explain(ident)


def test_the_cloud_s_last_word_is_told(scene: Scene) -> None:
    """A refusal is shown in the cloud's words, with its age and the next try."""
    _, request = scene.ask()
    scene.relay()
    for word in ("first", "no capacity in eu-north-1"):
        with scene.store.begin() as records:
            records.launches.failed(records.launches.ask(SPEC, "a request waits"), CAPACITY, word)
        scene.clock.advance(1)
    found = scene.explain(request.id)
    assert found["code"] == "waiting_capacity"
    assert (found["fleet"]["last_refusal"], found["fleet"]["last_refusal_seconds_ago"]) == (
        "no capacity in eu-north-1",
        1.0,
    )
    assert found["fleet"]["next_launch_seconds"] == 3.0


# --- what is said ---


def test_what_asking_and_cancelling_say(scene: Scene, journal: Callable[..., Any]) -> None:
    """One event and one audit entry each, with the same details."""
    skip = (len(scene.store.state.events), len(scene.store.state.audit))
    _, request = scene.ask()
    scene.cancel(request.id)
    subject = f"request/{request.id}"
    asked = {"model": "late", "reason": "by_hand", "upto_seq": 10, "priority": 3}
    ended = {"model": "late", "at_once": True}
    assert journal(scene.store, skip) == (
        [("request.created", subject, asked), ("request.cancelled", subject, ended)],
        [("test", "request.create", subject, asked), ("test", "request.cancel", subject, ended)],
    )
    with pytest.raises(ServiceError) as caught:
        scene.cancel("x" * 99)
    assert caught.value.message == f"there is no training request {'x' * 80!r}"


def test_cancelling_holds_the_request(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is locked before it is judged; what is no id is not looked for."""
    _, request = scene.ask()
    locks: list[tuple[str, bool]] = []
    get = MemoryRequests.get

    def getting(room: MemoryRequests, ident: str, *, lock: bool = False) -> Any:
        locks.append((ident, lock))
        return get(room, ident, lock=lock)

    monkeypatch.setattr(MemoryRequests, "get", getting)
    scene.cancel(request.id)
    assert locks == [(request.id, True), (request.id, False)]
    with pytest.raises(ServiceError):
        scene.cancel("x")
    assert len(locks) == 2


def test_the_whole_explanation(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of the answer, with the day's limit when it is reached; what is no id is not looked for."""
    _, request = scene.ask()
    scene.relay()
    rules = replace(RULES, max_usd_per_day=2.0)
    monkeypatch.setattr(MemoryLaunches, "usage", lambda _: Usage(hours=1.0, usd=2.5, unpriced_hours=0.0))
    with scene.store.begin() as records:
        found = dict(explained(records, request.id, rules=rules, resend_seconds=120.0))
    assert found.pop("fleet")["cap"] == {"name": "usd_per_day", "used": 2.5, "limit": 2.0}
    assert found == {
        "request_id": request.id,
        "model": "late",
        "state": "queued",
        "code": "cap_reached",
        "sentence": "today's limit is reached: $2.50 of $2.00 spent; nothing is launched",
        "blocked_by": "TRAINYARD_FLEET_MAX_USD_PER_DAY is 2",
        "to_do": "wait until midnight UTC, or raise TRAINYARD_FLEET_MAX_USD_PER_DAY",
        "expected_wait_seconds": None,
        "waited_seconds": 0.0,
        "priority": 3,
        "instance_types": ["c7i.large"],
        "spot": None,
        "queue": {"ahead": 0, "waiting": 1, "running": 0, "mean_seconds": None},
        "message": {"unsent": False, "sends": 1, "sent_seconds_ago": 0.0, "next_resend_seconds": 120.0},
        "lease": {"holder": None, "seconds_left": None},
        "attempts": [],
    }
    monkeypatch.setattr(MemoryRequests, "run", lambda *_: pytest.fail("asked for what is no id"))
    with pytest.raises(ServiceError, match="unknown_request"):
        scene.explain("x")


def test_columns_of_settings_are_features_of_the_dataset(scene: Scene) -> None:
    """A name that the dataset lacks, and the label, are problems that say which features there are."""
    with pytest.raises(ServiceError) as caught:
        scene.ask({"columns": {"exclude": ["nowhere"]}})
    assert [(p.column, p.got) for p in caught.value.details] == [("settings.columns.exclude", "nowhere")]
