"""Predictions that lie on S3: each is logged once, whatever is delivered twice, and nothing foreign is taken."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgpack
import numpy as np
import pytest

from trainyard.contracts.queue import Received
from trainyard.errors import MessageError, TransientError
from trainyard.messages import Message, PredictionLogged, PredictionsStored
from trainyard.prediction_blocks import pack_blocks
from trainyard.testing.fakes import MemoryPredictionLog
from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard_ingest.edges import predictions_handler
from trainyard_ingest.stored_predictions import with_stored
from trainyard_ingest.use_cases.feedback import TakeFeedback

RECORD = {
    "id": "pr_1",
    "model": "buys",
    "version": 3,
    "key_id": "k1",
    "trace_id": "t",
    "inputs": {"age": 30},
    "output": {"prediction": 1.5},
    "latency_us": 120,
    "predicted_at": "2026-03-01T12:00:00.123456+00:00",
}
DATA = b"".join([PredictionLogged.joined([msgpack.packb({**RECORD, "id": f"pr_{n}"})]) for n in range(3)])
KEY = "predictions/some"
POINTER = PredictionsStored(KEY, hashlib.sha256(DATA).hexdigest(), len(DATA))


class World:
    """The consumer, with everything in memory."""

    def __init__(self) -> None:
        self.log = MemoryPredictionLog()
        self.blobs = MemoryBlobs()
        self.blobs.put(KEY, DATA)
        self._handle = with_stored(predictions_handler(self.log, TakeFeedback(self.log)), self.blobs)

    def take(self, message: Message) -> None:
        """Deliver a message."""
        out = message.outgoing()
        self._handle(Received("m", "r", out.type, out.body, 1))


@pytest.fixture
def world() -> World:
    """An object under KEY, and nothing in the log."""
    return World()


def test_every_stored_message_is_handled_and_the_object_goes(world: World) -> None:
    """A pointer that comes again finds nothing, and that is no error."""
    world.take(POINTER)
    assert len(world.log.predictions) == 3
    assert list(world.blobs.list("")) == []
    world.take(POINTER)
    assert len(world.log.predictions) == 3


def test_a_block_is_as_many_predictions_as_it_holds(world: World) -> None:
    """Each a record like any other; one that no record may be like refuses all of them."""
    common = {name: RECORD[name] for name in ("model", "version", "key_id", "trace_id", "latency_us", "predicted_at")}
    ids = [f"pr_{number:032x}" for number in range(3)]
    inputs, output = {"x": np.array([1.0, np.nan, 2.5]), "y": ["a", None, "c"]}, {"prediction": [True, False, True]}
    (block,) = pack_blocks(common, ids, inputs, output, most_bytes=10_000)
    world.take(PredictionLogged([{**RECORD, "id": "pr_0"}, msgpack.unpackb(block)]))
    logged = {one.id: one for one in world.log.predictions}
    assert [logged[ident].inputs for ident in ids] == [
        {"x": 1.0, "y": "a"},
        {"x": None, "y": None},
        {"x": 2.5, "y": "c"},
    ]
    assert [logged[ident].output for ident in ids] == [{"prediction": value} for value in output["prediction"]]
    assert len(logged) == 4
    (bad,) = pack_blocks(common, ids, {"y": ["a", "b", "c\0"]}, output, most_bytes=10_000)
    with pytest.raises(MessageError, match="inputs"):
        world.take(PredictionLogged([msgpack.unpackb(bad)]))


def test_what_was_interrupted_is_done_again_without_doubling(world: World) -> None:
    """The object stays until all of it is in the log."""
    world.take(PredictionLogged([{**RECORD, "id": "pr_0"}]))
    world.log.outage = TransientError("away")
    with pytest.raises(TransientError):
        world.take(POINTER)
    world.log.outage = None
    assert len(list(world.blobs.list(""))) == 1
    world.take(POINTER)
    assert len(world.log.predictions) == 3


def test_an_object_that_holds_no_messages_is_poison(world: World) -> None:
    """Its hash says only that it is what was stored."""
    data = b"\xc1 nothing"
    world.blobs.put("predictions/odd", data)
    with pytest.raises(MessageError, match="holds no messages"):
        world.take(PredictionsStored("predictions/odd", hashlib.sha256(data).hexdigest(), len(data)))


@pytest.mark.parametrize(
    "pointer",
    [
        replace(POINTER, sha256="0" * 64),
        replace(POINTER, size=1),
        replace(POINTER, key="models/buys/x"),
        replace(POINTER, key="auth/keys.msgpack"),
    ],
)
def test_a_pointer_to_something_else_is_poison(world: World, pointer: PredictionsStored) -> None:
    """Nothing is read into the log, and nothing is deleted."""
    for key in ("models/buys/x", "auth/keys.msgpack"):
        world.blobs.put(key, DATA)
    with pytest.raises(MessageError):
        world.take(pointer)
    assert world.log.predictions == []
    assert len(list(world.blobs.list(""))) == 3
