"""A worker is killed in the middle of storing a large artifact.

Set-up: an artifact of more than 8 MiB, kill -9 when the store has been sent a few MiB of it. Seen: no object under the
key and no upload that waits for its end, because an artifact is one PUT; the next worker stores it whole.
"""

from __future__ import annotations

import hashlib
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from trainyard.alias_object import artifact_key
from trainyard.contracts.blobs import BlobMissingError
from trainyard.model import Dense, NeuralNetwork, Pipeline, decode, encode, with_golden
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from tests.cases.wire import Wire
    from tests.cases.yard import Yard

LARGE_BYTES = 8 << 20
HIDDEN = 1_100


def large_model() -> bytes:
    """Return an artifact of more than 8 MiB."""
    rng = np.random.default_rng(0)
    model = sample_model("neural_network")
    assert isinstance(model.pipeline, Pipeline)
    width = sum(step.width for step in model.pipeline.steps)
    layers = (
        Dense(rng.normal(size=(width, HIDDEN)), np.zeros(HIDDEN), "relu"),
        Dense(rng.normal(size=(HIDDEN, HIDDEN)), np.zeros(HIDDEN), "relu"),
        Dense(rng.normal(size=(HIDDEN, 1)), np.zeros(1), "identity"),
    )
    pipeline = replace(model.pipeline, estimator=NeuralNetwork(layers, "sigmoid"))
    return encode(with_golden(replace(model, pipeline=pipeline, golden=None), sample_rows(3)))


def test_killed_half_way(yard: Yard, wire: Wire) -> None:
    """Nothing is visible of what was sent; the same artifact can be stored afterwards."""
    data = large_model()
    assert len(data) > LARGE_BYTES
    key = artifact_key("flights", hashlib.sha256(data).hexdigest())
    file = yard.directory / "artifact"
    file.write_bytes(data)

    def kill() -> None:
        worker.kill()

    cut = wire.cut_request(f"PUT /{yard.config.bucket}/models/".encode(), after_bytes=len(data) // 2, then=kill)
    worker = yard.start("tests.cases.uploading_trainer", AWS_ENDPOINT_URL=wire.endpoint, KEY=key, ARTIFACT=str(file))
    assert worker.wait(30) == -signal.SIGKILL
    wait_until(lambda: cut.done == 1, "the break")
    with pytest.raises(BlobMissingError):
        yard.blobs.get(key)
    assert yard.artifacts() == []
    assert yard.clients.s3.list_multipart_uploads(Bucket=yard.config.bucket).get("Uploads", []) == []
    second = yard.start("tests.cases.uploading_trainer", KEY=key, ARTIFACT=str(file))
    assert second.wait(30) == 0
    assert decode(yard.blobs.get(key).data).name == "flights"
