"""Policies at work on fakes: every evaluation is kept, one request comes of many reasons, alarms are settled."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.contracts.monitoring import Alarm
from trainyard.errors import MessageError, ServiceError, TransientError
from trainyard.messages import DataArrived, FeedbackGiven, TrainingRequest
from trainyard.testing.crashpoints import armed
from trainyard.testing.fakes import MemoryQueue, MemoryStore
from trainyard.testing.fakes.scheduling_registry import MemoryModels
from trainyard.testing.fakes.scheduling_requests import MemoryRequests
from trainyard_scheduler.use_cases import policies
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import delete_model, put_model

if TYPE_CHECKING:
    from collections.abc import Callable

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})


class Scene:
    """One dataset, one model, and a queue of arrivals."""

    def __init__(self, **policy: Any) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", COLUMNS)
        self.queue = MemoryQueue(self.clock)
        self.put(**policy)

    def put(self, **policy: Any) -> None:
        """Create the model, or give it this policy."""
        with self.store.begin() as records:
            put_model(records, "late", {"dataset": "flights", "label": "late", "policy": policy}, BY)

    def rows(self, count: int) -> bool:
        """Commit rows and evaluate; return whether the policy fired."""
        self.store.state.add_rows("flights", count)
        return policies.evaluate_model(self.store, "late")

    def alarm(self, detector: str = "drift") -> int:
        """Raise an alarm; return its id."""
        state = self.store.state
        number = next(state.numbers)
        state.alarms.append(
            (state.models[0].id, Alarm(number, detector, "v1/1", "r", {}, self.clock.now(), None, None))
        )
        return number

    def outcome(self, alarm: int) -> tuple[str | None, str | None]:
        """Return what came of an alarm: the words and the request."""
        return next((a.outcome, a.request_id) for _, a in self.store.state.alarms if a.id == alarm)

    def decisions(self) -> list[tuple[str, int]]:
        """Return reasons and counts, oldest first."""
        return [(decision.reason, decision.times) for _, decision in self.store.state.decisions]

    def end(self, state: str) -> None:
        """Let the open request end."""
        ident = next(i for i, r in self.store.state.requests.items() if r.record.open)
        if state == "done":
            self.store.state.claim(ident, lease_until=self.clock.now())
            self.store.state.finish(ident)
        else:
            self.store.state.end(ident, state, "why")

    @property
    def requests(self) -> list[Any]:
        """Return all requests, oldest first."""
        return [request.record for request in self.store.state.requests.values()]


def test_every_evaluation_is_kept() -> None:
    """Equal answers in a row are one decision with a count and the time of the last; another answer is a new one."""
    scene = Scene(min_new_rows=10)
    for count in (3, 0, 0, 1):
        scene.rows(count)
        scene.clock.advance(5)
    assert scene.decisions() == [("not fired: 3 of 10 new rows", 3), ("not fired: 4 of 10 new rows", 1)]
    first = scene.store.state.decisions[0][1]
    assert first.last_at - first.at == timedelta(seconds=10)


def test_a_request_carries_what_the_policy_says() -> None:
    """Reason, rows, urgency, place and settings are copied; one message and one event tell of it."""
    scene = Scene(min_new_rows=10, priority=7, instance_types=["g5.xlarge"], spot=False, seed=3)
    assert scene.rows(12)
    (request,) = scene.requests
    assert (request.reason, request.new_rows, request.upto_seq) == ("min_new_rows", 12, 12)
    assert (request.priority, request.instance_types, request.spot) == (7, ["g5.xlarge"], False)
    assert set(request.settings) == {"budget_seconds", "metric", "seed", "gate"}
    (message,) = scene.store.state.outbox
    assert (message.queue, message.outgoing) == ("training", TrainingRequest(request.id).outgoing())
    event = scene.store.state.events[-1]
    assert (event.kind, event.subject, event.payload["reason"]) == (
        "request.created",
        f"request/{request.id}",
        "min_new_rows",
    )
    decision = scene.store.state.decisions[-1][1]
    assert (decision.fired, decision.request_id, decision.numbers["trigger"]) == (True, request.id, "min_new_rows")
    assert scene.store.state.requests[request.id].requested_by == "policy"


def test_labels_count_from_the_last_request() -> None:
    """Labels fire when enough are new, and are used up by the request."""
    scene = Scene(min_new_rows=None, min_new_labels=2)
    scene.store.state.add_label("late", "a")
    assert not scene.rows(5)
    scene.store.state.add_label("late", "b")
    assert scene.rows(0)
    scene.end("done")
    assert not scene.rows(5)
    assert scene.decisions()[-1] == ("not fired: 0 of 2 new labels", 1)


def test_cron_fires_once_for_a_time() -> None:
    """Each due time makes one request; times that were missed are one; without new rows a time passes unused."""
    scene = Scene(min_new_rows=None, cron="0 * * * *")
    assert not scene.rows(5)
    scene.clock.advance(3600 * 5)
    assert scene.rows(0)
    scene.end("done")
    assert not scene.rows(5)
    scene.clock.advance(3600)
    assert scene.rows(0)
    scene.end("done")
    scene.clock.advance(3600)
    assert not scene.rows(0)
    assert "no new rows to learn from" in scene.decisions()[-1][0]
    assert not scene.rows(5)
    assert scene.decisions()[-1][0].startswith("not fired: cron 0 * * * * is due next at ")
    assert [request.reason for request in scene.requests] == ["cron", "cron"]


def test_a_new_cron_expression_counts_from_now() -> None:
    """Times before the change are not made up for; another change of the policy moves nothing."""
    scene = Scene(min_new_rows=None)
    scene.clock.advance(86_400)
    scene.put(min_new_rows=None, cron="0 * * * *")
    assert not scene.rows(5)
    scene.clock.advance(3600)
    scene.put(min_new_rows=None, cron="0 * * * *", seed=4)
    assert scene.rows(0)


def test_a_cron_time_that_never_comes_is_refused() -> None:
    """The library that reads the expression has the last word when it is stored."""
    with pytest.raises(ServiceError) as caught:
        Scene(cron="0 0 31 2 *")
    assert (caught.value.code, [p.column for p in caught.value.details]) == ("invalid_model", ["policy.cron"])


def test_an_alarm_makes_a_request_and_is_settled_by_it() -> None:
    """One request answers all alarms that the policy listens to, and is named by the first trigger."""
    scene = Scene(min_new_rows=None, on_drift=True, on_quality_drop=True)
    drift, drop = scene.alarm(), scene.alarm("quality")
    assert scene.rows(5)
    (request,) = scene.requests
    assert request.reason == "on_drift"
    assert scene.outcome(drift) == scene.outcome(drop) == ("training was requested", request.id)
    scene.end("failed")
    scene.clock.advance(3600)
    assert not scene.rows(5)


def test_an_alarm_waits_for_an_open_request() -> None:
    """Held back by time only, it stays open; then it is served."""
    scene = Scene(min_new_rows=5, on_drift=True)
    scene.rows(5)
    alarm = scene.alarm()
    assert not scene.rows(1)
    assert scene.outcome(alarm) == (None, None)
    scene.end("done")
    assert scene.rows(0)
    assert scene.outcome(alarm) == ("training was requested", scene.requests[-1].id)


def test_an_alarm_waits_for_rows() -> None:
    """Raised while there is nothing new to learn from, it stays open; the first rows start a training."""
    scene = Scene(min_new_rows=10, on_drift=True)
    early, alarm = scene.alarm(), scene.alarm()
    assert not scene.rows(0)
    assert not scene.rows(0)
    assert "superseded" in str(scene.outcome(early)[0])
    assert scene.outcome(alarm) == (None, None)
    assert "waiting for new rows" in scene.decisions()[-1][0]
    assert scene.rows(1)
    assert scene.requests[-1].reason == "on_drift"
    assert scene.outcome(alarm) == ("training was requested", scene.requests[-1].id)


def test_an_alarm_that_nobody_listens_to() -> None:
    """It is settled at once, with the reason and without a request."""
    scene = Scene(min_new_rows=10, on_drift=False)
    alarm = scene.alarm()
    assert not scene.rows(0)
    outcome, request = scene.outcome(alarm)
    assert "on_drift is off" in str(outcome)
    assert request is None
    scene.rows(0)
    assert scene.decisions()[-1][0].startswith("not fired: 0 of 10 new rows")


@pytest.mark.parametrize("state", ["failed", "cancelled"])
@pytest.mark.parametrize(
    "policy",
    [
        {"min_new_rows": 1},
        {"min_new_rows": None, "max_age": 1},
        {"min_new_rows": None, "min_new_labels": 1},
        {"min_new_rows": None, "cron": "* * * * *"},
        {"min_new_rows": None, "on_drift": True},
    ],
)
def test_no_trigger_makes_a_hot_loop(policy: dict[str, Any], state: str) -> None:
    """Every request fails while rows, labels and alarms stream in: an hour makes a handful of requests."""
    scene = Scene(**policy)
    scene.store.state.add_label("late", "a")
    for _ in range(120):
        scene.clock.advance(30)
        if policy.get("on_drift"):
            scene.alarm()
        if scene.rows(1):
            scene.end(state)
    assert 2 <= len(scene.requests) <= 7


def test_two_schedulers_make_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second finds the request under the lock, and its evaluation is kept as such."""
    scene = Scene(min_new_rows=5)
    scene.store.state.add_rows("flights", 5)
    begin, calls = scene.store.begin, []

    def begin_after_the_other() -> Any:
        """Between our first look and our lock, another scheduler does all of it."""
        calls.append(1)
        if len(calls) == 2:
            monkeypatch.setattr(scene.store, "begin", begin)
            assert policies.evaluate_model(scene.store, "late")
        return begin()

    monkeypatch.setattr(scene.store, "begin", begin_after_the_other)
    assert not policies.evaluate_model(scene.store, "late")
    assert len(scene.requests) == 1
    assert [reason for reason, _ in scene.decisions()] == [
        "fired: 5 of 5 new rows",
        "not fired: a request is open already; 0 new rows wait",
    ]


def test_a_request_that_another_road_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unique index that refuses is an answer for later, and nothing is written."""
    scene = Scene(min_new_rows=5)
    monkeypatch.setattr(MemoryRequests, "add", lambda *_: None)
    with pytest.raises(TransientError, match="just now"):
        scene.rows(5)
    assert scene.decisions() == []


def test_a_model_that_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted before the first look or before the second one, it is not evaluated."""
    scene = Scene(min_new_rows=5)
    scene.store.state.add_rows("flights", 5)
    begin, calls = scene.store.begin, []

    def delete_before_the_second() -> Any:
        calls.append(1)
        if len(calls) == 2:
            with begin() as records:
                delete_model(records, "late", BY)
        return begin()

    monkeypatch.setattr(scene.store, "begin", delete_before_the_second)
    assert not policies.evaluate_model(scene.store, "late")
    assert not policies.evaluate_model(scene.store, "late")
    assert (scene.requests, scene.decisions()) == ([], [])


def test_a_storm_is_one_evaluation() -> None:
    """A thousand messages of one dataset lead to one evaluation, one request and one training message."""
    scene = Scene(min_new_rows=5)
    scene.store.state.add_rows("flights", 1000)
    scene.queue.send([DataArrived("flights", f"b{n}", n).outgoing() for n in range(1000)])
    assert policies.consume_arrived(scene.store, scene.queue, wait_seconds=0) == 1000
    assert scene.queue.depth().total == 0
    assert (len(scene.requests), len(scene.store.state.outbox)) == (1, 1)
    assert scene.decisions() == [("fired: 1,000 of 5 new rows", 1)]


def test_no_storm_is_read_for_ever() -> None:
    """What comes beyond a thousand messages waits for the next round."""
    scene = Scene(min_new_rows=5)
    scene.queue.send([DataArrived("flights", f"b{n}", n).outgoing() for n in range(1005)])
    assert policies.consume_arrived(scene.store, scene.queue, wait_seconds=0) == 1000
    assert policies.consume_arrived(scene.store, scene.queue, wait_seconds=0) == 5


def test_messages_that_are_no_arrivals() -> None:
    """A message of another kind, or one that names no dataset, is left to the dead letters."""
    scene = Scene(min_new_rows=5)
    scene.queue.send([FeedbackGiven([]).outgoing(), DataArrived("No Name", "b", 1).outgoing()])
    assert policies.consume_arrived(scene.store, scene.queue, wait_seconds=0) == 2
    assert scene.queue.depth().total == 2


def test_models_of_other_datasets_are_left_alone() -> None:
    """Only who learns from the dataset is evaluated; a tick evaluates all."""
    scene = Scene(min_new_rows=5)
    scene.store.state.add_rows("flights", 5)
    assert policies.evaluate_models(scene.store, dataset="other") == 0
    assert policies.evaluate_models(scene.store) == 1


@pytest.mark.parametrize("point", ["K10", "K11", "K12", "K46"])
def test_errors_at_each_step_leave_all_or_nothing(point: str) -> None:
    """An error at a step leaves nothing half done, and the next evaluation makes the request."""
    scene = Scene(min_new_rows=None, on_drift=True)
    scene.alarm()
    with armed(point), pytest.raises(TransientError, match=point):
        scene.rows(5)
    assert len(scene.requests) == len(scene.store.state.outbox) == len(scene.decisions()) == 0
    assert scene.rows(0)
    assert len(scene.requests) == 1


def test_a_lost_reply_at_the_insert_changes_nothing() -> None:
    """The request is there though the answer to COMMIT was lost; the next evaluation finds it."""
    scene = Scene(min_new_rows=5)
    with armed("K12", "lost"), pytest.raises(TransientError, match="K12"):
        scene.rows(5)
    assert not scene.rows(0)
    assert len(scene.requests) == 1


def test_what_firing_says(said: Callable[..., Any], journal: Callable[..., Any]) -> None:
    """One line and one event, with the model, the request and the rows."""
    scene = Scene(min_new_rows=10)
    scene.rows(12)
    (request,) = scene.requests
    fields = {"model": "late", "request_id": request.id, "trigger": "min_new_rows", "new_rows": 12}
    assert said() == [("INFO", "policy.fired", fields)]
    payload = {"model": "late", "reason": "min_new_rows", "upto_seq": 12}
    assert journal(scene.store)[0][-1] == ("request.created", f"request/{request.id}", payload)


def test_an_unreadable_arrival_is_told(said: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """Its line has the error and the message's id; it is hidden for two seconds, and only its queue's reader waits."""
    scene = Scene(min_new_rows=10)
    scene.queue.send([TrainingRequest("a").outgoing(), DataArrived("No Name", "b", 1).outgoing()])
    idents = [message.message_id for message in scene.queue._stored]
    bodies = [message.body for message in scene.queue._stored]
    assert policies.consume_arrived(scene.store, scene.queue, wait_seconds=0) == 2
    assert said() == [("ERROR", "arrived.unreadable_message", {"message_id": ident}) for ident in idents]
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [str(error).split(":")[0] for error in errors] == [
        str(MessageError(f"a {kind} that names no dataset", body)).split(":")[0]
        for kind, body in zip(("TrainingRequest", "DataArrived"), bodies, strict=True)
    ]
    scene.clock.advance(1.9)
    assert scene.queue.depth().visible == 0
    scene.clock.advance(0.1)
    assert scene.queue.depth().visible == 2


def test_arrivals_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """While full batches come more is taken without a wait, up to a bound; each dataset is looked at once."""
    scene = Scene(min_new_rows=10)
    asked: list[tuple[int, int, int]] = []
    receive = scene.queue.receive

    def receiving(*, limit: int, wait_seconds: int, visibility_seconds: int) -> Any:
        asked.append((limit, wait_seconds, visibility_seconds))
        return receive(limit=limit, wait_seconds=wait_seconds, visibility_seconds=visibility_seconds)

    monkeypatch.setattr(scene.queue, "receive", receiving)
    seen: list[str | None] = []
    monkeypatch.setattr(policies, "evaluate_models", lambda _, *, dataset=None: seen.append(dataset))
    for count, bound, calls in ((25, 1_000, 3), (20, 1_000, 3), (9, 1_000, 1), (45, 30, 3), (0, 30, 2)):
        monkeypatch.setattr(policies, "_MOST_MESSAGES", bound)
        asked.clear()
        scene.queue.send([DataArrived(f"d{n % 2}", str(n), 1).outgoing() for n in range(count)])
        came = policies.consume_arrived(scene.store, scene.queue, wait_seconds=3)
        assert (came, asked) == (min(count, bound) or 15, [(10, 3, 60), *[(10, 0, 60)] * (calls - 1)])
    assert seen == ["d0", "d1"] * 4 + ["d0", "d1"]
    assert scene.queue.depth().total == 0


def test_only_the_second_look_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said before is counted without a lock; the model is locked where there is something to write."""
    scene = Scene(min_new_rows=10)
    locks: list[bool] = []
    get = MemoryModels.get

    def getting(room: MemoryModels, name: str, *, lock: bool = False) -> Any:
        locks.append(lock)
        return get(room, name, lock=lock)

    monkeypatch.setattr(MemoryModels, "get", getting)
    for expected in ([False, True], [False]):
        locks.clear()
        assert policies.evaluate_model(scene.store, "late") is False
        assert locks == expected


def test_only_the_dataset_s_models_are_looked_at() -> None:
    """Rows of another dataset are no reason to look."""
    scene = Scene(min_new_rows=10)
    scene.queue.send([DataArrived("other", "b", 1).outgoing()])
    policies.consume_arrived(scene.store, scene.queue, wait_seconds=0)
    assert scene.decisions() == []
