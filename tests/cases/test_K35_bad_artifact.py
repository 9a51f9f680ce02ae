"""The bucket holds something else than what was published.

Set-up: a predictor serves version 1; then the champion is moved to an artifact that is cut short, has one bit flipped
or belongs to another model, or the object of an older alias is put back. Seen: each is refused by size, SHA-256, name
or rising number, and counted; version 1 goes on answering, and a sound newer version takes over.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from trainyard.alias_object import alias_key, artifact_key, encode_alias
from trainyard.clock import ManualClock
from trainyard.model import encode
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.publishing import point_alias, publish_key, publish_version
from trainyard_predictor import bootstrap
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cases.yard import Yard

    from trainyard.adapters.aws.s3 import S3Blobs

FIRST_SEQ = 5


class Serving:
    """A predictor in this process, on the case's bucket."""

    def __init__(self, yard: Yard) -> None:
        self.blobs = yard.blobs
        self.first = publish_version(self.blobs, sample_model(seed=1), 1)
        point_alias(self.blobs, self.first, seq=FIRST_SEQ)
        self._key = publish_key(self.blobs, "predict")
        self.service = bootstrap.build(yard.config, blobs=yard.blobs, queue=yard.queue, clock=ManualClock())
        self.service.background.refresh()

    def version(self) -> int:
        """Ask for predictions and return which version answered."""
        headers = {
            "host": "127.0.0.1:8083",
            "authorization": f"Bearer {self._key}",
            "content-type": "application/json",
        }
        body = json.dumps({"rows": sample_rows(2)}).encode()
        answer = self.service.handler.handle(Request("POST", "/v1/predict/flights", "", headers, body))
        assert answer.status == 200, answer.body
        return int(json.loads(answer.body)["version"])


@pytest.fixture
def serving(yard: Yard) -> Iterator[Serving]:
    """A predictor that serves version 1."""
    made = Serving(yard)
    assert made.version() == 1
    yield made
    made.service.background.close()


def cut_short(blobs: S3Blobs) -> None:
    """Publish version 2, and lose the end of its artifact."""
    pointer = publish_version(blobs, sample_model(seed=2), 2)
    blobs.put(pointer.key, blobs.get(pointer.key).data[:-1])
    point_alias(blobs, pointer, seq=FIRST_SEQ + 1)


def flip_a_bit(blobs: S3Blobs) -> None:
    """Publish version 2, and change one bit in the middle of its artifact."""
    pointer = publish_version(blobs, sample_model(seed=2), 2)
    data = bytearray(blobs.get(pointer.key).data)
    data[len(data) // 2] ^= 1
    blobs.put(pointer.key, bytes(data))
    point_alias(blobs, pointer, seq=FIRST_SEQ + 1)


def take_another_models(blobs: S3Blobs) -> None:
    """Point the alias at a sound artifact of another model that lies under this model's name."""
    other = publish_version(blobs, sample_model(seed=2, name="other"), 1)
    key = artifact_key("flights", other.sha256)
    blobs.put(key, encode(sample_model(seed=2, name="other")))
    point_alias(blobs, replace(other, model="flights", version=2, key=key), seq=FIRST_SEQ + 1)


def put_an_older_alias_back(blobs: S3Blobs) -> None:
    """Put back an alias object that was true once, with its lower number."""
    pointer = publish_version(blobs, sample_model(seed=2), 2)
    old = replace(pointer, alias="champion", weight=1.0, seq=FIRST_SEQ - 1)
    blobs.put(alias_key("flights", "champion"), encode_alias(old))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (cut_short, "artifact"),
        (flip_a_bit, "artifact"),
        (take_another_models, "artifact"),
        (put_an_older_alias_back, "pointer"),
    ],
)
def test_last_good_version_serves(serving: Serving, spoil: object, kind: str) -> None:
    """It is refused and counted once, whoever looks how often; what is sound and newer is taken at once."""
    assert callable(spoil)
    spoil(serving.blobs)
    for _ in range(3):
        serving.service.models.refresh()
        assert serving.version() == 1
    assert serving.service.models.errors == {kind: 1}
    sound = publish_version(serving.blobs, sample_model(seed=3), 3)
    point_alias(serving.blobs, sound, seq=FIRST_SEQ + 2)
    serving.service.models.refresh()
    assert serving.version() == 3
