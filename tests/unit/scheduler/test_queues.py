"""Queues and dead letters on fakes: what is shown, what is moved, and what happens when a queue stops answering."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING

import msgpack
import pytest

from trainyard.clock import ManualClock
from trainyard.contracts.queue import MAX_BYTES, Outgoing, Received
from trainyard.dead_letters import CAUSES, preview, read
from trainyard.errors import ServiceError, TransientError
from trainyard.messages import DataArrived, FeedbackGiven, PredictionLogged, TrainingRequest
from trainyard.testing.fakes import MemoryQueue, MemoryStore
from trainyard_scheduler.use_cases import queues
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.queues import Pair, Redriven
from trainyard_scheduler.use_cases.requests import ask, cancel

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BY = By("operator", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})
GOOD = TrainingRequest(str(uuid.uuid4())).outgoing()


class Scene:
    """A model, and two queues with their dead letters; nothing is moved back by the queues themselves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", COLUMNS)
        self.store.state.add_rows("flights", 10)
        self.pairs = {name: self._pair() for name in ("training", "arrived")}
        self.live, self.dead = self.pairs["training"]
        with self.store.begin() as records:
            put_model(records, "late", {"dataset": "flights", "label": "late", "policy": {"min_new_rows": 99}}, BY)

    def _pair(self) -> tuple[MemoryQueue, MemoryQueue]:
        dead = MemoryQueue(self.clock)
        dead.moves_back = False
        return MemoryQueue(self.clock, dead_letters=dead), dead

    @property
    def queues(self) -> dict[str, Pair]:
        """The queues as the use cases take them."""
        return {name: Pair(live, dead) for name, (live, dead) in self.pairs.items()}

    def request(self) -> str:
        """Ask by hand; return the id."""
        with self.store.begin() as records:
            return ask(records, "late", {}, BY)[1].id

    def bury(self, *messages: Outgoing) -> None:
        """Let the messages die in the training queue."""
        self.live.send(messages)
        while self.live.depth().total:
            for message in self.live.receive(limit=10, wait_seconds=0, visibility_seconds=60):
                self.live.extend(message.receipt, 0)

    def redrive(self, limit: int | None = None) -> Redriven:
        """Send back what died in the training queue."""
        with self.store.begin() as records:
            return queues.redrive(records, self.queues, "training", limit, BY)

    def explained(self) -> list[tuple[str, str | None]]:
        """Return cause and request of each dead letter."""
        letters = queues.peek(self.queues["training"], 100)
        with self.store.begin() as records:
            found = [queues.explain(records, "training", letter) for letter in letters]
        return [(dead.cause, dead.request and dead.request.id) for dead in found]


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


# --- what waits ---


def test_states_count_each_queue_and_its_dead(scene: Scene) -> None:
    """Each queue shows its own numbers, and the training queue how long its oldest request has waited."""
    scene.bury(GOOD)
    scene.request()
    scene.clock.sleep(5)
    scene.pairs["arrived"][0].send([Outgoing("T", "x", delay_seconds=60), Outgoing("T", "y")])
    training, arrived = queues.states(scene.store, scene.queues)
    assert (training.name, training.dead, training.oldest_seconds) == ("training", 1, 5.0)
    assert (arrived.name, arrived.depth.visible, arrived.depth.delayed, arrived.dead) == ("arrived", 1, 1, 0)
    assert arrived.oldest_seconds is None


def test_nothing_waits(scene: Scene) -> None:
    """With no request queued nothing is the oldest."""
    assert queues.states(scene.store, scene.queues)[0].oldest_seconds is None


def test_unknown_queue(scene: Scene) -> None:
    """A queue that there is not is refused, with the names of those there are."""
    with pytest.raises(ServiceError, match=r"unknown_queue.*training, arrived"):
        queues.pair_called(scene.queues, "trains")


# --- looking ---


def test_looking_changes_nothing(scene: Scene) -> None:
    """Whoever looks sees every letter, and so does the next one; a limit is kept."""
    scene.bury(*(TrainingRequest(str(uuid.uuid4())).outgoing() for _ in range(13)))
    pair = scene.queues["training"]
    first = {letter.message_id for letter in queues.peek(pair, 100)}
    assert len(first) == 13
    assert {letter.message_id for letter in queues.peek(pair, 100)} == first
    assert len(queues.peek(pair, 12)) == 12
    assert scene.dead.depth().visible == 13


def test_a_letter_that_cannot_be_given_back_comes_back_by_itself(scene: Scene) -> None:
    """An outage between looking and giving back fails nothing, and the letters are seen again a minute later."""
    scene.bury(GOOD)
    with queues._held(scene.dead) as held:
        held.extend(queues._take(scene.dead, 10))
        scene.dead.outage = TransientError("away")
    scene.dead.outage = None
    assert queues.peek(scene.queues["training"], 10) == []
    scene.clock.sleep(60)
    assert len(queues.peek(scene.queues["training"], 10)) == 1


def test_why_a_letter_is_dead(scene: Scene) -> None:
    """Unreadable, of an open request, of a settled one and of nobody's request are told apart."""
    ident = scene.request()
    nobody = str(uuid.uuid4())
    scene.bury(
        Outgoing("TrainingRequest", "rubbish"), TrainingRequest(ident).outgoing(), TrainingRequest(nobody).outgoing()
    )
    assert scene.explained() == [("unreadable", None), ("request_open", ident), ("other_environment", None)]
    with scene.store.begin() as records:
        cancel(records, ident, BY)
    assert scene.explained()[1] == ("request_settled", ident)


def test_words_name_the_problem(scene: Scene) -> None:
    """The words of an unreadable letter say what cannot be read; those of a readable one end with its cause."""
    scene.bury(Outgoing("Mystery", "x"), GOOD)
    with scene.store.begin() as records:
        bad, good = (queues.explain(records, "training", x) for x in queues.peek(scene.queues["training"], 10))
    assert bad.words == (
        "no reader of this queue can read it: it is not a message of ours (unknown message type 'Mystery');"
        " it begins with 'x'"
    )
    assert good.words == CAUSES["other_environment"]


def _letter(message: Outgoing) -> Received:
    return Received("id", "receipt", message.type, message.body, 6)


def _packed(content: object) -> str:
    return base64.b64encode(msgpack.packb(content)).decode()


@pytest.mark.parametrize(
    ("queue", "message", "problem"),
    [
        ("training", GOOD, ""),
        ("training", Outgoing("TrainingRequest", _packed({"v": 1, "request_id": "../x"})), "not a UUID"),
        ("training", DataArrived("flights", "b", 1).outgoing(), "does not carry DataArrived"),
        ("arrived", DataArrived("flights", "b", 1).outgoing(), ""),
        ("arrived", GOOD, "does not carry TrainingRequest"),
        ("predictions", PredictionLogged([]).outgoing(), ""),
        ("predictions", FeedbackGiven([]).outgoing(), ""),
        ("predictions", Outgoing("FeedbackGiven", _packed({"v": 999})), "not of version"),
        ("objects", Outgoing("", json.dumps({"Records": []})), ""),
        ("objects", Outgoing("", json.dumps({"Event": "s3:TestEvent"})), ""),
        ("objects", Outgoing("", "[" * 100_000), "not an S3"),
        ("objects", Outgoing("", "{"), "not an S3"),
        ("objects", Outgoing("", "7"), "not an S3"),
        ("objects", Outgoing("", "{}"), "not an S3"),
    ],
)
def test_reading_as_the_consumers_do(queue: str, message: Outgoing, problem: str) -> None:
    """A letter is readable exactly when the queue carries its kind and its body holds it."""
    found = read(queue, _letter(message)).problem
    assert (problem in found) if problem else found == ""


def test_a_letter_that_can_be_read_was_refused(scene: Scene) -> None:
    """Outside the training queue a readable letter points to no request: its reader refused it."""
    with scene.store.begin() as records:
        found = queues.explain(records, "arrived", _letter(DataArrived("flights", "b", 1).outgoing()))
    assert (found.cause, found.request, found.words) == ("refused", None, CAUSES["refused"])


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("plain {text}", "plain {text}"),
        ("\x1b[31mred\nline\u202e", ".[31mred.line."),
        (base64.b64encode(b"\x82\xa1v\x01").decode(), "..v."),
        ("é" * 300, "é" * 200),
        (base64.b64encode(b"x" * 5_000).decode(), "x" * 198),
    ],
)
def test_preview_is_short_and_printable(body: str, shown: str) -> None:
    """The first 200 characters at most, base64 undone, and nothing in them that moves a cursor."""
    assert preview(body)[:198] == shown[:198]
    assert len(preview(body)) <= 200
    assert preview(body).isprintable()


# --- sending back ---


def test_letters_go_back_as_they_were(scene: Scene) -> None:
    """Type and body are the same again, with the receives of a new message, and the change is in the audit log."""
    scene.bury(GOOD, Outgoing("", "{}"))
    assert scene.redrive() == Redriven("training", moved=2, kept=0, left=0, background=False)
    back = scene.live.receive(limit=10, wait_seconds=0, visibility_seconds=60)
    assert [(m.type, m.body, m.receive_count) for m in back] == [(GOOD.type, GOOD.body, 1), ("", "{}", 1)]
    with scene.store.begin() as records:
        entry = records.journal.audit_page(1, None)[0]
        event = records.journal.events(0, 100)[-1]
    assert (entry.actor, entry.action, entry.subject) == ("operator", "queue.redrive", "queue/training")
    assert entry.details == {"moved": 2, "kept": 0, "background": False, "limit": None}
    assert (event.kind, event.subject) == ("queue.redriven", "queue/training")


def test_the_service_moves_them_where_it_can(scene: Scene) -> None:
    """Without a limit a service that moves dead letters by itself is asked to; nothing is counted then."""
    scene.bury(GOOD)
    scene.dead.moves_back = True
    assert scene.redrive() == Redriven("training", moved=0, kept=0, left=0, background=True)
    assert scene.live.depth().visible == 1


def test_a_limit_is_kept(scene: Scene) -> None:
    """With a limit so many are moved and no more, even where the service could move all."""
    scene.bury(*(TrainingRequest(str(uuid.uuid4())).outgoing() for _ in range(13)))
    scene.dead.moves_back = True
    assert scene.redrive(12) == Redriven("training", moved=12, kept=0, left=1, background=False)


def test_nothing_to_send_back(scene: Scene) -> None:
    """No dead letters, nothing moved, and the service is not asked."""
    scene.dead.moves_back = True
    assert scene.redrive() == Redriven("training", moved=0, kept=0, left=0, background=False)


def test_more_than_one_call_moves(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit one call moves a bounded number, and says how many are left."""
    monkeypatch.setattr(queues, "MAX_MOVED", 3)
    scene.bury(*(TrainingRequest(str(uuid.uuid4())).outgoing() for _ in range(5)))
    assert scene.redrive() == Redriven("training", moved=3, kept=0, left=2, background=False)


def test_a_letter_that_no_queue_takes_stays(scene: Scene) -> None:
    """A letter larger than what we may send, or one that is refused, is kept and counted; the others are moved."""
    scene.bury(GOOD)
    scene.dead._store("large", "TrainingRequest", "x" * (MAX_BYTES + 1), 0)
    assert scene.redrive() == Redriven("training", moved=1, kept=1, left=1, background=False)
    scene.dead._store("fine", GOOD.type, GOOD.body, 0)
    scene.live.refuse_next = 1
    assert scene.redrive() == Redriven("training", moved=0, kept=2, left=2, background=False)
    assert len(queues.peek(scene.queues["training"], 10)) == 2


def _fail_on(queue: MemoryQueue, call: int) -> Callable[[list[Outgoing]], list[int]]:
    calls = iter(range(1, 100))
    send = queue.send

    def sending(messages: list[Outgoing]) -> list[int]:
        if next(calls) >= call:
            raise TransientError("away")
        return list(send(messages))

    return sending


def test_an_outage_before_anything_was_moved_is_an_error(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing was moved the caller is told to repeat, nothing is lost, and no audit entry claims a change."""
    scene.bury(GOOD)
    monkeypatch.setattr(scene.live, "send", _fail_on(scene.live, 1))
    with pytest.raises(TransientError, match="away"):
        scene.redrive()
    assert scene.dead.depth().total == 1
    with scene.store.begin() as records:
        assert records.journal.audit_page(1, None)[0].action != "queue.redrive"


def test_an_outage_on_the_way_keeps_what_is_done(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was moved is answered and audited; what was not is still dead."""
    scene.bury(*(TrainingRequest(str(uuid.uuid4())).outgoing() for _ in range(3)))
    monkeypatch.setattr(scene.live, "send", _fail_on(scene.live, 3))
    assert scene.redrive() == Redriven("training", moved=2, kept=0, left=1, background=False)


def test_unknown_queue_is_not_redriven(scene: Scene) -> None:
    """Sending back to a queue that there is not is refused."""
    with pytest.raises(ServiceError, match="unknown_queue"), scene.store.begin() as records:
        queues.redrive(records, scene.queues, "nothing", None, BY)


# --- what is said ---


def test_what_a_redrive_says(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, said: Callable[..., Any], journal: Callable[..., Any]
) -> None:
    """A line, an event and an audit entry with the same numbers; a line for what is kept, and for an outage."""
    scene.bury(GOOD)
    scene.dead._store("large", "TrainingRequest", "x" * (MAX_BYTES + 1), 0)
    scene.redrive(5)
    details = {"moved": 1, "kept": 1, "background": False, "limit": 5}
    kept, done = said()
    assert kept[:2] == ("WARNING", "queue.letter_kept")
    assert (set(kept[2]), kept[2]["message_id"]) == ({"message_id", "reason"}, "large")
    assert str(MAX_BYTES) in kept[2]["reason"].replace(",", "")
    assert done == ("INFO", "queue.redriven", {"queue": "training", **details})
    events, audit = journal(scene.store)
    assert events[-1] == ("queue.redriven", "queue/training", details)
    assert audit[-1] == ("operator", "queue.redrive", "queue/training", details)
    scene.bury(GOOD)
    monkeypatch.setattr(scene.live, "send", _fail_on(scene.live, 2))
    scene.dead._store("more", GOOD.type, GOOD.body, 0)
    scene.dead._stored = [one for one in scene.dead._stored if one.message_id != "large"]
    scene.redrive(5)
    assert said()[2] == ("WARNING", "queue.redrive_interrupted", {"moved": 1, "reason": "away"})


def test_what_an_explanation_holds(scene: Scene) -> None:
    """The letter itself, and what is in it; a queue's name is cut."""
    letter = _letter(GOOD)
    with scene.store.begin() as records:
        found = queues.explain(records, "training", letter)
    assert (found.letter, found.preview) == (letter, preview(GOOD.body))
    with pytest.raises(ServiceError) as caught:
        queues.pair_called(scene.queues, "x" * 99)
    assert caught.value.message == f"there is no queue {'x' * 80!r}; there are training, arrived"


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        ("TrainingRequest", "hello world", ("it is not a message of ours (message body is not base64 of msgpack);"
         " it begins with 'hello world'")),
        ("TrainingRequest", '{"id": "' + "7" * 99, "it is not a message of ours (message body is not base64 of"
         " msgpack); it begins with '{\"id\": \"" + "7" * 32 + "'"),
        ("TrainingRequest", "", "it is not a message of ours (message body is not base64 of msgpack); it is empty"),
        ("", "aGVsbG8=", "it is not a message of ours (it names no message type); it begins with 'hello'"),
        ("m" * 99, "\x07", f"it is not a message of ours (unknown message type '{'m' * 80}'); it begins with '.'"),
        ("TrainingRequest", _packed({"v": 2}), "message is not of version 1"),
    ],
)  # fmt: skip
def test_what_nobody_of_ours_wrote(kind: str, body: str, problem: str) -> None:
    """It is called so, with how it begins; what a newer release may have written is not."""
    assert read("training", _letter(Outgoing(kind, body))).problem == problem


_NO_NOTIFICATION = 'it is not an S3 notification; it begins with \'{"Event": "s3:TestEvent", "x": "%s\''


@pytest.mark.parametrize(
    ("brackets", "problem"),
    [
        ("[" * 999, ""),
        ("[" * 1_000, _NO_NOTIFICATION % ("[" * 8)),
        ("{" * 999, ""),
        ("{" * 1_000, _NO_NOTIFICATION % ("{" * 8)),
        ("[" * 500 + "{" * 500, _NO_NOTIFICATION % ("[" * 8)),
    ],
)
def test_depth_of_a_notification(brackets: str, problem: str) -> None:
    """A thousand brackets at most, the first one of the notification itself included."""
    body = json.dumps({"Event": "s3:TestEvent", "x": brackets})
    assert read("objects", _letter(Outgoing("", body))).problem == problem


def test_an_id_that_is_none() -> None:
    """The problem names what is wrong with the request id."""
    letter = _letter(Outgoing("TrainingRequest", _packed({"v": 1, "request_id": "../x"})))
    assert read("training", letter).problem == "its request id is not a UUID"
    assert preview("abc=defg") == "abc=defg"
    assert preview("ab.cd") == "ab.cd"
