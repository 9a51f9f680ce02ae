"""Readiness scores golden rows again, says what was refused, and each process tells the store what it serves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.errors import ArtifactError, TransientError
from trainyard.model import Predictor
from trainyard.serving_object import (
    PREFIX,
    ServedModel,
    decode_serving,
    encode_serving,
    place_of,
    serving_key,
)
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.publishing import point_alias, publish_version

if TYPE_CHECKING:
    from conftest import World

BODY = {"rows": sample_rows(1)}


def ready(world: World, query: str = "") -> tuple[int, dict[str, Any]]:
    """Ask for readiness."""
    response = world.get("/readyz", query)
    return response.status, json.loads(response.body)


def told(world: World) -> list[list[ServedModel]]:
    """Return what each process has told the store."""
    return [decode_serving(world.blobs.get(info.key).data) for info in world.blobs.list(PREFIX)]


def refuse_version_2(world: World) -> None:
    """Point the champion at an artifact that is not what its pointer says."""
    pointer = publish_version(world.blobs, sample_model(seed=2), 2)
    world.blobs.put(pointer.key, b"torn")
    point_alias(world.blobs, pointer, seq=2)


def test_a_model_that_forgot_its_golden_rows_is_not_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What answered rightly when it was loaded and does no more makes the process unready; a deep look sees it now."""
    assert world.ask("flights", BODY).status == 200
    assert ready(world)[1]["needs"]["golden rows"] is True

    def wrong(_: Predictor) -> None:
        raise ArtifactError("golden_mismatch", "memory was changed")

    with monkeypatch.context() as broken:
        broken.setattr(Predictor, "self_test", wrong)
        world.clock.advance(1)
        assert ready(world)[0] == 200  # the last look is not 10 s old
        status, said = ready(world, "deep=1")
        assert (status, said["needs"]["golden rows"]) == (503, False)
        assert [one["golden"] for one in said["models"]] == [False]
    world.clock.advance(10)
    assert ready(world)[0] == 200


def test_a_refused_version_is_named_and_the_process_stays_ready(world: World) -> None:
    """The last good version answers; readiness, metrics and the store's notice say what was refused, and why."""
    assert world.ask("flights", BODY).status == 200
    refuse_version_2(world)
    world.pass_seconds(1)
    status, said = ready(world)
    [one] = said["models"]
    assert (status, one["asked"], one["version"], one["seq"]) == (200, "champion", 1, 1)
    assert "bad_size" in one["refused"]
    assert 'trainyard_model_refused{model="flights",alias="champion"} 1.0\n' in world.metrics()
    [[notice]] = told(world)
    assert (notice.model, notice.asked, notice.version, notice.seq) == ("flights", "champion", 1, 1)
    assert notice.refused is not None
    assert "bad_size" in notice.refused


def test_a_process_tells_what_it_serves_at_once_and_again(world: World) -> None:
    """A move is told in the round that follows it, an unchanged state every 5 s, and the end removes the notice."""
    assert world.ask("flights", BODY).status == 200
    world.publish(2)
    world.pass_seconds(1)
    [[one]] = told(world)
    assert (one.version, one.seq) == (2, 2)
    [before] = world.blobs.list(PREFIX)
    world.pass_seconds(1)
    world.blobs.delete(before.key)  # whoever looks again sees whether it was written again
    world.pass_seconds(1)
    assert told(world) == []
    world.pass_seconds(5)
    [after] = world.blobs.list(PREFIX)
    assert after.key == before.key
    world.service.background.close()
    assert told(world) == []


def test_a_notice_that_cannot_be_written_harms_nothing(world: World) -> None:
    """Predictions go on, and the notice is there once the store is back."""
    assert world.ask("flights", BODY).status == 200
    world.blobs.outage = TransientError("no route to S3")
    world.pass_seconds(6)
    assert world.ask("flights", BODY).status == 200
    world.blobs.outage = None
    world.pass_seconds(1)
    assert [[one.version for one in process] for process in told(world)] == [[1]]


def test_the_object_is_read_as_it_was_written() -> None:
    """Key and bytes come back; whatever else is in the store is refused or is not one of these."""
    models = [ServedModel("late", "champion", 7, 3, None), ServedModel("late", "9", None, None, "bad_sha256: ...")]
    assert decode_serving(encode_serving(models)) == models
    assert serving_key("prod eu", "host-12-ab") == "serving/prod-eu/host-12-ab"
    assert place_of("serving/prod-eu/host-12-ab") == ("prod-eu", "host-12-ab")
    for key in ("serving/prod", "aliases/late/champion", "serving/a/b/c", "serving//x"):
        assert place_of(key) is None
    for environment, process in (("", "a"), ("-", "a"), ("prod", ""), ("prod", "a" * 101)):
        with pytest.raises(ValueError, match="not an environment"):
            serving_key(environment, process)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x80", b"a" * 2_000_000, encode_serving([])[:-1], encode_serving([])[:-1] + b"\x01"],
)
def test_other_bytes_are_no_such_object(data: bytes) -> None:
    """Anything else is a ValueError."""
    with pytest.raises(ValueError, match=r"not|over"):
        decode_serving(data)


@pytest.mark.parametrize("field", ["model", "asked", "version", "seq", "refused"])
def test_a_field_of_another_type_is_refused(field: str) -> None:
    """Each field is checked."""
    data = encode_serving([ServedModel(**{**vars(ServedModel("late", "champion", 7, 3, None)), field: True})])
    with pytest.raises(ValueError, match="wrong type"):
        decode_serving(data)
