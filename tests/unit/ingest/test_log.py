"""Labels and prediction records: what is taken, and every problem of what is not."""

import json

import pytest

from trainyard.contracts.prediction_log import Label
from trainyard.contracts.queue import Received
from trainyard.errors import MessageError, ServiceError, TransientError
from trainyard.messages import DataArrived, FeedbackGiven, PredictionLogged, ShadowScored
from trainyard.schema import Column, Schema
from trainyard.testing.fakes import MemoryPredictionLog
from trainyard_ingest.domain.records import read_record, read_shadow
from trainyard_ingest.edges import predictions_handler
from trainyard_ingest.use_cases.feedback import TakeFeedback

KEYED = Schema([Column("id", "int", "key", False), Column("day", "date", "key", False), Column("x", "float")])
RECORD = {
    "id": "pr_1",
    "model": "buys",
    "version": 3,
    "key_id": "k1",
    "trace_id": "t",
    "inputs": {"age": 30, "city": None},
    "output": {"prediction": 1.5},
    "latency_us": 120,
    "predicted_at": "2026-03-01T12:00:00.123456+00:00",
}


@pytest.fixture
def log():
    """A log that knows a model with key columns and one without."""
    log = MemoryPredictionLog()
    log.models = {"keyed": KEYED, "plain": Schema([Column("x", "float")])}
    return log


def _take(log, items):
    return TakeFeedback(log).take(items, key_id="k1", trace_id="t1", once=None)


def test_labels_of_both_forms(log):
    """Labels by prediction id and by key are stored in order, with who gave them."""
    key = {"day": "2024-01-01", "id": 7}
    given = _take(log, [{"prediction_id": "p1", "label": True}, {"model": "keyed", "key": key, "label": "late"}])
    assert (given.accepted, given.parked) == (2, 1)
    assert log.labels == [Label(True, prediction_id="p1"), Label("late", model="keyed", key=key)]
    assert log.givers == [("k1", "t1")]


def test_all_problems_are_listed(log):
    """Every problem of every item is named by item and field, and nothing is stored."""
    items = [
        {"prediction_id": "p1", "label": None},
        {"prediction_id": "p 1", "label": [1]},
        {"prediction_id": 5, "label": 1},
        {"label": 1},
        {"prediction_id": "p1", "label": 1, "model": "keyed"},
        7,
        {"model": "plain", "key": {"x": 1}, "label": 1},
        {"model": "keyed", "key": {"id": 7}, "label": 1},
        {"model": "keyed", "key": {"id": 7, "day": "2024-01-01", "x": 1}, "label": 1},
        {"model": "keyed", "key": {"id": "7", "day": "soon"}, "label": float("nan")},
        {"model": 7, "key": {}, "label": 1},
        {"prediction_id": "p1", "label": "a\0b"},
        {"prediction_id": "p1", "label": "ä" * 40_000},
        {"prediction_id": "fine", "label": 1},
    ]
    with pytest.raises(ServiceError) as refused:
        _take(log, items)
    assert refused.value.code == "invalid_rows"
    assert [(p.row, p.column) for p in refused.value.details] == [
        (1, "label"),
        (2, "label"),
        (2, "prediction_id"),
        (3, "prediction_id"),
        (4, None),
        (5, None),
        (6, None),
        (7, "model"),
        (8, "key"),
        (9, "key"),
        (10, "label"),
        (10, "key.id"),
        (10, "key.day"),
        (11, "model"),
        (12, "label"),
        (13, "label"),
    ]
    assert log.labels == []


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([], "bad_request"),
        ({}, "bad_request"),
        (None, "bad_request"),
        ([{}] * 10_001, "too_large"),
        ([{"model": "nobody", "key": {"id": 1}, "label": 1}], "unknown_model"),
        ([{"model": "a\0b", "key": {"id": 1}, "label": 1}], "unknown_model"),
    ],
)
def test_lists_that_are_refused(log, items, code):
    """A list that is none, is empty or too long, and a model that is not there, are refused as a whole."""
    with pytest.raises(ServiceError) as refused:
        _take(log, items)
    assert refused.value.code == code


def test_record():
    """A record of the predictor becomes a prediction, field by field."""
    prediction = read_record(RECORD)
    assert prediction.predicted_at.isoformat() == RECORD["predicted_at"]
    assert {name: getattr(prediction, name) for name in RECORD if name != "predicted_at"} == {
        name: value for name, value in RECORD.items() if name != "predicted_at"
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "a b"},
        {"id": 5},
        {"model": "No"},
        {"version": 0},
        {"version": True},
        {"version": 2**31},
        {"key_id": "a\0"},
        {"trace_id": 5},
        {"inputs": []},
        {"inputs": {"a": float("nan")}},
        {"inputs": {"a": "x\0"}},
        {"inputs": {"a": b"x"}},
        {"inputs": {"a\\": "\\\0"}},
        {"output": {}},
        {"output": {"prediction": float("inf")}},
        {"latency_us": -1},
        {"predicted_at": "2026-03-01T12:00:00"},
        {"predicted_at": "now"},
        {"predicted_at": None},
        {"more": 1},
    ],
)
def test_bad_record(changes):
    """A record that Postgres could not keep, or that is not what was agreed, is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - each says something else
        read_record({**RECORD, **changes})


def test_texts_with_backslashes_are_fine():
    """Only a real NUL is refused, not its spelling."""
    assert read_record({**RECORD, "inputs": {"a": "\\u0000", "b": "\\\\"}}).inputs["a"] == "\\u0000"


def _message(message, ident="m1"):
    out = message.outgoing()
    return Received(ident, "r", out.type, out.body, 1)


def test_messages_have_their_effect_once(log):
    """Predictions and labels that come twice are stored once; a later correction stays the latest."""
    handle = predictions_handler(log, TakeFeedback(log))
    logged = _message(PredictionLogged([RECORD]))
    first = _message(FeedbackGiven([{"prediction_id": "pr_1", "label": 1}]), "m2")
    second = _message(FeedbackGiven([{"prediction_id": "pr_1", "label": 2}]), "m3")
    for message in (logged, first, second, first, logged):
        handle(message)
    assert len(log.predictions) == 1
    assert log.find("pr_1").label == 2


@pytest.mark.parametrize(
    "message",
    [
        _message(PredictionLogged([RECORD, {}])),
        _message(FeedbackGiven([{"prediction_id": "p1"}])),
        _message(FeedbackGiven([{"model": "nobody", "key": {}, "label": 1}])),
        _message(DataArrived("shop", "b", 1)),
        Received("m", "r", "PredictionLogged", "nonsense", 1),
        Received("m", "r", "", json.dumps({"Event": "s3:TestEvent"}), 1),
    ],
)
def test_poison(log, message):
    """A message that can never be handled says so, and leaves nothing behind."""
    with pytest.raises(MessageError):
        predictions_handler(log, TakeFeedback(log))(message)
    assert (log.predictions, log.labels) == ([], [])


def test_outage(log):
    """An outage is not the message's fault."""
    log.outage = TransientError("away")
    with pytest.raises(TransientError):
        predictions_handler(log, TakeFeedback(log))(_message(PredictionLogged([RECORD])))


SHADOW = {
    "id": "pr_1",
    "model": "buys",
    "version": 3,
    "shadow_version": 4,
    "difference": -0.25,
    "changed": True,
    "scored_at": "2026-03-01T12:00:00.123456+00:00",
}


def test_comparisons_are_logged_once(log):
    """A message with comparisons is taken, and repeated changes nothing."""
    sent = ShadowScored([SHADOW, {**SHADOW, "id": "pr_2"}]).outgoing()
    for number in range(2):
        predictions_handler(log, TakeFeedback(log))(Received(str(number), "r", sent.type, sent.body, 1))
    assert [one.prediction_id for one in log.shadows.values()] == ["pr_1", "pr_2"]
    assert next(iter(log.shadows.values())) == read_shadow(SHADOW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "pr 1"),
        ("model", "Buys"),
        ("version", 0),
        ("shadow_version", True),
        ("difference", float("nan")),
        ("difference", 1),
        ("changed", 1),
        ("scored_at", "2026-03-01T12:00:00"),
        ("scored_at", 5),
    ],
)
def test_other_comparisons_are_invalid(log, field, value):
    """Each field is checked, and a message with one bad record stores none."""
    sent = ShadowScored([SHADOW, {**SHADOW, "id": "pr_2", field: value}]).outgoing()
    with pytest.raises(MessageError, match=field):
        predictions_handler(log, TakeFeedback(log))(Received("1", "r", sent.type, sent.body, 1))
    assert log.shadows == {}
