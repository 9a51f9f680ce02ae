"""Messages survive the queue, and nothing else is taken for one."""

import base64

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.errors import MessageError
from trainyard.messages import (
    DataArrived,
    FeedbackGiven,
    PredictionLogged,
    PredictionsStored,
    TrainingRequest,
    decode,
    stored_bodies,
)

MESSAGES = [
    DataArrived("flights", "b1", 7),
    TrainingRequest("r1"),
    PredictionLogged([{"id": "p", "x": 1.5}]),
    PredictionsStored("predictions/ab", "ab", 7),
    FeedbackGiven([{"prediction_id": "p", "label": True}]),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.type)
def test_decode_returns_what_was_encoded(message):
    """Every message type makes the round trip."""
    outgoing = message.outgoing()
    assert decode(outgoing.type, outgoing.body) == message


def _body(value):
    return base64.b64encode(msgpack.packb(value)).decode()


@pytest.mark.parametrize(
    ("type_name", "body"),
    [
        ("TrainingRequest", ""),
        ("TrainingRequest", "not base64!"),
        ("TrainingRequest", _body("scalar")),
        ("TrainingRequest", _body({"v": 999, "request_id": "r"})),
        ("TrainingRequest", _body({"v": 1})),
        ("TrainingRequest", _body({"v": 1, "request_id": 5})),
        ("TrainingRequest", _body({"v": 1, "request_id": "r", "more": 1})),
        ("TrainingRequest", _body({"v": 1, 5: "r"})),
        ("TrainingRequest", _body({"v": 1, b"bytes": 1, "text": 1})),
        ("DataArrived", _body({"v": 1, "dataset": "d", "batch_id": "b", "upto_seq": True})),
        ("Nonsense", _body({"v": 1})),
        ("TrainingRequest", "A" * 1_048_577),
    ],
)
def test_anything_else_is_refused_and_kept(type_name, body):
    """The error keeps the raw body for whoever looks at the dead letter."""
    with pytest.raises(MessageError) as caught:
        decode(type_name, body)
    assert caught.value.raw == body


@given(
    st.sampled_from(["DataArrived", "TrainingRequest", "PredictionLogged", "PredictionsStored", "FeedbackGiven"]),
    st.binary(max_size=200),
)
def test_no_bytes_escape_as_another_error(type_name, data):
    """Whatever stands in a message, decode returns a message or raises MessageError."""
    body = base64.b64encode(data).decode()
    try:
        message = decode(type_name, body)
    except MessageError as e:
        assert e.raw == body  # noqa: PT017
    else:
        assert message.type == type_name


def test_records_that_are_packed_already_make_the_same_message() -> None:
    """`joined` gives the bytes of `outgoing` without unpacking what it sends."""
    records = [{"id": f"pr_{n}", "inputs": {"x": n, "é": None}, "output": {"prediction": True}} for n in range(20)]
    made = PredictionLogged.joined([msgpack.packb(record) for record in records])
    assert PredictionLogged.outgoing_of(made) == PredictionLogged(records).outgoing()
    for count in (0, 15, 16, 65_536):
        joined = PredictionLogged.joined([b"\xc0"] * count)
        assert len(msgpack.unpackb(joined)["records"]) == count


def test_messages_one_behind_the_other_are_told_apart() -> None:
    """Their bodies are those that a queue would have carried; what is cut off or foreign is refused."""
    made = [PredictionLogged.joined([msgpack.packb({"id": f"pr_{n}"})] * n) for n in (1, 20, 3)]
    bodies = [PredictionLogged.outgoing_of(one).body for one in made]
    assert stored_bodies(b"".join(made)) == bodies
    assert stored_bodies("\n".join(bodies).encode()) == bodies
    for wrong in (b"".join(made)[:-1], made[0] + b"\xc1"):
        with pytest.raises(ValueError, match="one behind"):
            stored_bodies(wrong)
