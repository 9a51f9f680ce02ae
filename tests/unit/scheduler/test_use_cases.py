"""The scheduler's use cases on fakes and a clock that is moved by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from trainyard.alias_object import decode_alias
from trainyard.auth import KEYS_OBJECT, decode_keys
from trainyard.clock import ManualClock
from trainyard.contracts.queue import Outgoing
from trainyard.errors import TransientError
from trainyard.messages import DataArrived, TrainingRequest
from trainyard.testing.fakes import MemoryBlobs, MemoryQueue, MemoryStore
from trainyard_scheduler.use_cases import keys, policies, relay
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import delete_model, put_model
from trainyard_scheduler.use_cases.publish import KeyPublisher, ModelPublisher, Publisher
from trainyard_scheduler.use_cases.requests import ask
from trainyard_scheduler.use_cases.resend import Reconciler
from trainyard_scheduler.use_cases.versions import remove_alias, set_alias

if TYPE_CHECKING:
    from collections.abc import Sequence

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})


class Scene:
    """One dataset, one model with a threshold of 10 rows, and queues."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", COLUMNS)
        self.queues = {name: MemoryQueue(self.clock) for name in ("training", "arrived", "predictions")}
        with self.store.begin() as records:
            put_model(records, "late", {"dataset": "flights", "label": "late", "policy": {"min_new_rows": 10}}, BY)

    def rows(self, count: int) -> None:
        """Commit rows and evaluate, as the message would."""
        self.store.state.add_rows("flights", count)
        policies.evaluate_models(self.store, dataset="flights")

    def request(self) -> str:
        """Ask by hand and send; return the id."""
        with self.store.begin() as records:
            ident = ask(records, "late", {}, BY)[1].id
        relay.relay_all(self.store, self.queues)
        return ident

    def reasons(self) -> list[str]:
        """Return the decisions' reasons, oldest first."""
        return [decision.reason for _, decision in self.store.state.decisions]

    def in_training_queue(self) -> int:
        """Return the number of messages."""
        return self.queues["training"].depth().visible

    def reconciler(self, made_at: Sequence[float] = (0.0,)) -> Reconciler:
        """Return a reconciler that sees the queue made at these times, the last for ever."""
        times = list(made_at)
        return Reconciler(
            self.store, resend_seconds=60, queue_made_at=lambda: times.pop(0) if len(times) > 1 else times[0]
        )


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


def test_policy_fires_once(scene: Scene) -> None:
    """Decisions are kept when they are news; one request is made at the threshold, the next from its snapshot on."""
    for count in (4, 0, 6, 3):
        scene.rows(count)
    assert scene.reasons() == [
        "not fired: 4 of 10 new rows",
        "fired: 10 of 10 new rows",
        "not fired: a request is open already; 3 new rows wait",
    ]
    (request,) = scene.store.state.requests.values()
    assert (request.record.upto_seq, request.record.settings["budget_seconds"]) == (10, 60.0)
    scene.store.state.claim(request.record.id, lease_until=scene.clock.now())
    scene.store.state.finish(request.record.id)
    scene.rows(6)
    scene.rows(1)
    assert scene.reasons()[-2:] == ["not fired: 9 of 10 new rows", "fired: 10 of 10 new rows"]


def test_failed_request_is_not_repeated_in_vain(scene: Scene) -> None:
    """After a failure the same rows do not fire again; newer rows do, with those of the failed request."""
    scene.rows(10)
    (first,) = scene.store.state.requests
    scene.store.state.end(first, "failed")
    scene.rows(0)
    scene.clock.advance(60)
    scene.rows(0)
    assert len(scene.store.state.requests) == 1
    scene.rows(1)
    assert scene.reasons()[-1] == "fired: 11 of 10 new rows"


def test_messages_of_the_arrived_queue(scene: Scene) -> None:
    """A readable message is settled after the evaluation, one that cannot be read stays for the dead letters."""
    scene.store.state.add_rows("flights", 3)
    good = DataArrived("flights", "b", 3).outgoing()
    scene.queues["arrived"].send([good, good, Outgoing("DataArrived", "rubbish")])
    assert policies.consume_arrived(scene.store, scene.queues["arrived"], wait_seconds=0) == 3
    assert scene.reasons() == ["not fired: 3 of 10 new rows"]
    assert scene.queues["arrived"].depth().total == 1


def test_message_stays_when_the_database_is_away(scene: Scene) -> None:
    """An evaluation that fails leaves its message in the queue."""
    scene.queues["arrived"].send([DataArrived("flights", "b", 3).outgoing()])
    scene.store.outage = TransientError("away")
    with pytest.raises(TransientError):
        policies.consume_arrived(scene.store, scene.queues["arrived"], wait_seconds=0)
    assert scene.queues["arrived"].depth().total == 1


def test_relay_takes_each_queue_on_its_own(scene: Scene) -> None:
    """A queue that is away keeps its messages waiting and the others moving; sends of requests are counted."""
    with scene.store.begin() as records:
        records.outbox.post("arrived", DataArrived("flights", "b", 3))
    scene.store.state.add_rows("flights", 3)
    scene.queues["arrived"].outage = TransientError("away")
    with pytest.raises(TransientError):
        scene.request()
    assert scene.in_training_queue() == 1
    (request,) = scene.store.state.requests.values()
    assert request.send_count == 1
    scene.queues["arrived"].outage = None
    relay.relay_all(scene.store, scene.queues)
    assert (scene.queues["arrived"].depth().visible, scene.in_training_queue()) == (1, 1)


def test_refused_messages_wait(scene: Scene) -> None:
    """Messages that the queue did not accept, one by one, are sent again, the others are not."""

    class Picky(MemoryQueue):
        refusing = True

        def send(self, messages: Sequence[Outgoing]) -> list[int]:
            if not self.refusing:
                return super().send(messages)
            super().send(messages[:1])
            return list(range(1, len(messages)))

    queue = Picky(scene.clock)
    with scene.store.begin() as records:
        for ident in "abc":
            records.outbox.post("training", TrainingRequest(ident))
    with pytest.raises(TransientError, match="refused 2 of 3"):
        relay.relay(scene.store, {"training": queue})
    queue.refusing = False
    relay.relay(scene.store, {"training": queue})
    assert queue.depth().visible == 3


def test_reconciler_waits_longer_each_time(scene: Scene) -> None:
    """A request that nobody takes is sent after 60 s, then after 120 more; never while its message waits to be sent."""
    scene.store.state.add_rows("flights", 1)
    scene.request()
    reconciler = scene.reconciler()
    sends = []
    for second in range(0, 400, 10):
        if reconciler.step():
            sends.append(second)
            assert reconciler.step() == 0
        relay.relay_all(scene.store, scene.queues)
        scene.clock.advance(10)
    assert sends == [60, 180]
    assert scene.in_training_queue() == 3


def test_reconciler_after_a_lost_queue(scene: Scene) -> None:
    """A queue made anew gets every open request that nobody holds, once."""
    scene.store.state.add_rows("flights", 1)
    first = scene.request()
    scene.store.state.add_rows("flights", 1)
    held = scene.request()
    scene.store.state.claim(held, lease_until=scene.clock.now() + timedelta(seconds=60))
    reconciler = scene.reconciler([0.0, scene.clock.now().timestamp() + 5])
    assert reconciler.step() == 0
    scene.queues["training"].purge()
    scene.clock.advance(6)
    assert reconciler.step() == 1
    relay.relay_all(scene.store, scene.queues)
    assert reconciler.step() == 0
    (message,) = scene.queues["training"].receive(limit=10, wait_seconds=0, visibility_seconds=1)
    assert message.body == TrainingRequest(first).outgoing().body


def test_reconciler_after_a_lost_trainer(scene: Scene) -> None:
    """A lease that ran out is answered with one send at once."""
    scene.store.state.add_rows("flights", 1)
    ident = scene.request()
    scene.clock.advance(1)
    scene.store.state.claim(ident, lease_until=scene.clock.now() + timedelta(seconds=20))
    reconciler = scene.reconciler()
    scene.clock.advance(19)
    assert reconciler.step() == 0
    scene.clock.advance(2)
    assert reconciler.step() == 1
    relay.relay_all(scene.store, scene.queues)
    scene.clock.advance(2)
    assert reconciler.step() == 0


def test_model_objects_follow(scene: Scene) -> None:
    """Objects of model, version and alias are written, mended when lost or overwritten, and removed."""
    scene.store.state.add_rows("flights", 1)
    ident = scene.request()
    scene.store.state.claim(ident, lease_until=scene.clock.now())
    scene.store.state.finish(ident)
    with scene.store.begin() as records:
        set_alias(records, "late", "champion", 1, expected_seq=None, reason="r", by=BY)
    blobs = MemoryBlobs()
    publisher = ModelPublisher(scene.store, blobs)
    assert [publisher.step(), publisher.step()] == [3, 0]
    good = blobs.get("aliases/late/champion").data
    assert ModelPublisher(scene.store, blobs).step() == 0
    blobs.put("aliases/late/champion", b"foreign")
    blobs.put("aliases/late/other", b"foreign")
    assert [publisher.step(), publisher.step()] == [2, 0]
    always = ["catalogue/late", "versions/late/1"]
    assert [info.key for info in blobs.list("")] == ["aliases/late/champion", *always]
    assert decode_alias(blobs.get("versions/late/1").data).sha256 == decode_alias(good).sha256
    blobs.delete("aliases/late/champion")
    assert publisher.step() == 1
    assert blobs.get("aliases/late/champion").data == good
    with scene.store.begin() as records:
        remove_alias(records, "late", "champion", BY)
    assert publisher.step() == 1
    assert [info.key for info in blobs.list("")] == always
    with scene.store.begin() as records:
        delete_model(records, "late", BY)
    assert publisher.step() == 2
    assert list(blobs.list("")) == []


def test_objects_are_looked_at_as_often_as_asked(scene: Scene) -> None:
    """While the database says the same, S3 is asked only when a look is due; a change is published at once."""
    clock = ManualClock()
    with scene.store.begin() as records:
        keys.make_key(records, "first", ["read"], 1, BY)
    blobs = MemoryBlobs()
    publisher = Publisher(scene.store, blobs, look_seconds=60, clock=clock)
    publisher.step()
    publisher.step()
    stands = blobs.get("catalogue/late").data
    for key in ("catalogue/late", KEYS_OBJECT):
        blobs.delete(key)
    clock.advance(59)
    publisher.step()
    assert list(blobs.list("")) == []

    clock.advance(1)
    publisher.step()
    assert blobs.get("catalogue/late").data == stands
    assert decode_keys(blobs.get(KEYS_OBJECT).data)

    clock.advance(1)
    with scene.store.begin() as records:
        made, _ = keys.make_key(records, "me", ["read"], 1, BY)
    publisher.step()
    assert made.id in decode_keys(blobs.get(KEYS_OBJECT).data)


def test_key_object_follows(scene: Scene) -> None:
    """The keys are written when they change, when one expires, and when the object is lost or strange."""
    blobs = MemoryBlobs()
    publisher = KeyPublisher(scene.store, blobs)
    assert [publisher.step(), publisher.step()] == [True, False]
    with scene.store.begin() as records:
        made, _ = keys.make_key(records, "me", ["read"], 1, BY)
    assert publisher.step()
    assert set(decode_keys(blobs.get(KEYS_OBJECT).data)) == {made.id}
    assert not KeyPublisher(scene.store, blobs).step()
    blobs.put(KEYS_OBJECT, b"x")
    assert [publisher.step(), publisher.step()] == [True, False]
    blobs.delete(KEYS_OBJECT)
    assert publisher.step()
    scene.clock.advance(86_401)
    assert publisher.step()
    assert decode_keys(blobs.get(KEYS_OBJECT).data) == {}
