"""Models follow their aliases without a failed request, and whatever goes wrong leaves the last good one serving."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from trainyard.alias_object import AliasObject, alias_key, encode_alias, model_key
from trainyard.auth import KEYS_OBJECT
from trainyard.errors import TransientError
from trainyard.testing.crashpoints import armed
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.publishing import point_alias, publish_version
from trainyard_predictor.domain import parse_target
from trainyard_predictor.edges.model_source import ModelSource

if TYPE_CHECKING:
    from conftest import World

BODY = {"rows": sample_rows(1)}


def version_of(world: World, target: str = "flights") -> int:
    """Return the version that answers."""
    response = world.ask(target, BODY)
    assert response.status == 200, response.body
    version: int = json.loads(response.body)["version"]
    return version


def test_a_new_champion_answers_after_the_next_look(world: World) -> None:
    """One refresh after the alias moved, the new version answers; so does an older one after a rollback."""
    assert version_of(world) == 1
    world.publish(2)
    assert version_of(world) == 1  # no request reads the store for a model that is known
    world.pass_seconds(1)
    assert version_of(world) == 2
    world.publish(1, seq=3)
    world.pass_seconds(1)
    assert version_of(world) == 1


def test_no_request_fails_while_champions_change(world: World) -> None:
    """Threads hammer the model while 30 promotions come by: every answer is 200, versions never go back."""
    failures: list[object] = []
    seen: list[list[int]] = []
    stop = threading.Event()

    def hammer() -> None:
        versions: list[int] = []
        seen.append(versions)
        while not stop.is_set():
            response = world.ask("flights", BODY)
            if response.status != 200:
                failures.append(response)
            else:
                versions.append(json.loads(response.body)["version"])

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(2, 32):
        world.publish(version)
        world.pass_seconds(1)
    final = version_of(world)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert final == 31
    assert all(versions == sorted(versions) for versions in seen)


def test_the_store_may_be_away(world: World) -> None:
    """Known models go on from memory, unknown ones get 503, and all is well again afterwards."""
    assert version_of(world) == 1
    world.blobs.outage = TransientError("no route to S3")
    world.pass_seconds(60)
    assert version_of(world) == 1
    assert world.ask("trains", BODY).status == 503
    assert world.get("/readyz").status == 200
    world.blobs.outage = None
    world.publish(2)
    world.pass_seconds(1)
    assert version_of(world) == 2
    assert world.ask("trains", BODY).status == 404


def test_a_broken_artifact_leaves_the_last_good_version(world: World) -> None:
    """Wrong bytes, a wrong size, another model's file or golden rows that fail: refused, counted, and mended later."""
    assert version_of(world) == 1
    good = publish_version(world.blobs, sample_model(seed=2), 2)
    other = publish_version(world.blobs, sample_model(seed=3, name="trains"), 2)
    data = world.blobs.get(good.key).data
    spoilt = data[:-1] + bytes([data[-1] ^ 1])
    for seq, (pointer, stored) in enumerate(
        [
            (good, spoilt),
            (good, data[:100]),
            (good, b""),
            (replace(good, size=good.size + 1), data),
            (
                replace(good, sha256=other.sha256, key=good.key.replace(good.sha256, other.sha256), size=other.size),
                data,
            ),
        ],
        start=2,
    ):
        world.blobs.put(good.key, stored)
        world.blobs.put(good.key.replace(good.sha256, other.sha256), world.blobs.get(other.key).data)
        point_alias(world.blobs, pointer, seq=seq)
        world.pass_seconds(1)
        assert version_of(world) == 1
        assert world.service.models.errors["artifact"] == seq - 1
    world.blobs.put(good.key, data)
    point_alias(world.blobs, good, seq=7)
    world.pass_seconds(1)
    assert version_of(world) == 2


def test_a_repaired_artifact_is_taken_up_again(world: World) -> None:
    """The alias need not move: half a minute later the same pointer is tried once more."""
    assert version_of(world) == 1
    good = publish_version(world.blobs, sample_model(seed=2), 2)
    data = world.blobs.get(good.key).data
    world.blobs.put(good.key, b"torn")
    point_alias(world.blobs, good, seq=2)
    world.pass_seconds(1)
    world.blobs.put(good.key, data)
    world.pass_seconds(1)
    assert version_of(world) == 1
    world.pass_seconds(30)
    assert version_of(world) == 2


@pytest.mark.parametrize("point", ["K33", "K34", "K35", "K36"])
@pytest.mark.parametrize("alias", ["champion", "challenger"])
def test_a_fault_at_any_step_of_a_swap_leaves_the_last_good_version(world: World, point: str, alias: str) -> None:
    """Whatever fails between the look and the swap: the old one answers, the next look brings the new one."""
    world.publish(1, alias=alias, seq=1)
    world.publish(1)
    assert version_of(world) == 1
    world.pass_seconds(2)
    world.publish(2, alias=alias)
    with armed(point):
        world.pass_seconds(2)
        assert version_of(world) == 1
        assert world.service.models.errors["store"] == 1
    world.pass_seconds(2)
    assert version_of(world) == 2


def test_a_late_artifact_is_waited_for(world: World) -> None:
    """An alias that is seen before its artifact is followed as soon as the artifact is there."""
    assert version_of(world) == 1
    late = publish_version(world.blobs, sample_model(seed=2), 2)
    data = world.blobs.get(late.key).data
    world.blobs.delete(late.key)
    point_alias(world.blobs, late, seq=2)
    world.pass_seconds(1)
    assert version_of(world) == 1
    world.blobs.put(late.key, data)
    world.pass_seconds(1)
    assert version_of(world) == 2


def test_a_first_version_that_cannot_be_loaded_is_unavailable(bare_world: World) -> None:
    """With nothing good before it: 503, never 500, and 200 once it is repaired."""
    good = publish_version(bare_world.blobs, sample_model(seed=1), 1)
    data = bare_world.blobs.get(good.key).data
    bare_world.blobs.put(good.key, b"torn")
    point_alias(bare_world.blobs, good, seq=1)
    for _ in range(3):
        response = bare_world.ask("flights", BODY)
        assert response.status == 503
        assert "Retry-After" in response.headers
    bare_world.blobs.put(good.key, data)
    bare_world.pass_seconds(31)
    assert version_of(bare_world) == 1


def test_a_process_that_never_had_the_champion_takes_the_one_before(bare_world: World) -> None:
    """It answers as those do that were there: with the last good version, and says why; then the repaired one."""
    bare_world.publish(1, alias="previous")
    good = publish_version(bare_world.blobs, sample_model(seed=2), 2)
    data = bare_world.blobs.get(good.key).data
    bare_world.blobs.put(good.key, b"torn")
    point_alias(bare_world.blobs, good, seq=2)
    assert version_of(bare_world) == 1
    (standing,) = json.loads(bare_world.get("/readyz").body)["models"]
    assert (standing["asked"], standing["version"], standing["seq"]) == ("champion", 1, None)
    assert standing["refused"].startswith("bad_size")
    assert bare_world.ask("flights@2", BODY).status == 503  # who asks for a version gets that or none
    bare_world.blobs.put(good.key, data)
    bare_world.pass_seconds(31)
    assert version_of(bare_world) == 2


def test_a_champion_before_that_is_no_better_stands_in_for_nobody(bare_world: World) -> None:
    """Two bad artifacts: 503, and the first that is repaired answers."""
    pointers = [publish_version(bare_world.blobs, sample_model(seed=seed), seed) for seed in (1, 2)]
    data = bare_world.blobs.get(pointers[1].key).data
    for pointer, alias in zip(pointers, ("previous", "champion"), strict=True):
        bare_world.blobs.put(pointer.key, b"torn")
        point_alias(bare_world.blobs, pointer, seq=1, alias=alias)
    assert bare_world.ask("flights", BODY).status == 503
    bare_world.blobs.put(pointers[1].key, data)
    bare_world.pass_seconds(31)
    assert version_of(bare_world) == 2


def test_an_alias_never_goes_back(world: World) -> None:
    """A replayed older pointer, one that moved without a new seq, and garbage are refused."""
    world.publish(2, seq=5)
    assert version_of(world) == 2
    for replay in (4, 5):
        world.publish(1, seq=replay)
        world.pass_seconds(1)
        assert version_of(world) == 2
    for garbage in (b"", b"\xc1", b"x" * 5000):
        world.blobs.put(alias_key("flights", "champion"), garbage)
        world.pass_seconds(1)
        assert version_of(world) == 2
    assert world.service.models.errors["pointer"] == 5


def test_a_pointer_of_something_else_is_refused(world: World) -> None:
    """The object must name the model and alias under whose key it stands."""
    assert version_of(world) == 1
    stray = publish_version(world.blobs, sample_model(seed=2), 2)
    moved = AliasObject("flights", "shadow", 2, stray.key, stray.sha256, stray.size, 1.0, 9)
    world.blobs.put(alias_key("flights", "champion"), encode_alias(moved))
    world.pass_seconds(1)
    assert version_of(world) == 1


def test_a_deleted_model_stops_being_served(world: World) -> None:
    """An alias that stays away for ten seconds is gone; one that comes back at once never was."""
    assert version_of(world) == 1
    pointer = world.blobs.get(alias_key("flights", "champion")).data
    world.blobs.delete(alias_key("flights", "champion"))
    world.pass_seconds(1)
    world.pass_seconds(5)
    assert version_of(world) == 1
    world.blobs.put(alias_key("flights", "champion"), pointer)
    world.pass_seconds(5)
    world.blobs.delete(alias_key("flights", "champion"))
    world.blobs.delete(model_key("flights"))
    world.pass_seconds(1)
    world.pass_seconds(10)
    assert world.ask("flights", BODY).status == 404


def test_a_store_that_lost_everything_changes_nothing(world: World) -> None:
    """When even the API keys are gone the bucket was emptied, and memory is all there is."""
    assert version_of(world) == 1
    for info in list(world.blobs.list("")):
        world.blobs.delete(info.key)
    world.pass_seconds(1)
    world.pass_seconds(60)
    assert version_of(world) == 1
    assert KEYS_OBJECT == "auth/keys.msgpack"


def test_models_that_are_not_asked_make_room(world: World) -> None:
    """Over the limit of bytes the least recently asked model is let go, and read again when asked."""
    sizes = {}
    for name in ("trains", "ships", "buses"):
        pointer = publish_version(world.blobs, sample_model(name=name), 1)
        point_alias(world.blobs, pointer, seq=1)
        sizes[name] = pointer.size
    source = ModelSource(world.blobs, world.clock, cache_bytes=sizes["trains"] + sizes["ships"] + 10)
    for name in ("trains", "ships", "trains", "buses"):
        world.clock.advance(1)
        assert source.get(parse_target(name)).model == name
    assert {served.model for _, served in source.serving()} == {"trains", "buses"}
    assert source.refresh()
    assert source.get(parse_target("ships")).version == 1


def test_the_last_good_version_is_read_again_after_it_made_room(world: World) -> None:
    """A refused champion and a full memory together: what answered before answers again, under any alias."""
    world.publish(1, alias="held", seq=1)
    sources = ModelSource(world.blobs, world.clock, cache_bytes=4_000)  # one model
    targets = [parse_target("flights"), parse_target("flights@held")]
    for target in targets:
        assert sources.get(target).version == 1
    bad = publish_version(world.blobs, sample_model(seed=2), 2)
    world.blobs.put(bad.key, b"torn")
    for alias in ("champion", "held"):
        point_alias(world.blobs, bad, seq=2, alias=alias)
    world.pass_seconds(1)
    assert sources.refresh()
    other = publish_version(world.blobs, sample_model(seed=3, name="trains"), 1)
    point_alias(world.blobs, other, seq=1)
    for target in targets:
        assert sources.get(parse_target("trains")).model == "trains"
        assert not sources.holds(target)
        assert sources.get(target).version == 1


def test_versions_of_one_artifact_share_memory(world: World) -> None:
    """An alias and a version number of the same artifact use one predictor."""
    assert version_of(world) == version_of(world, "flights@1") == 1
    predictors = {id(served.predictor) for _, served in world.service.models.serving()}
    assert len(predictors) == 1


def test_names_that_nobody_made_leave_no_trace(world: World) -> None:
    """Guessed names are not kept: memory stays as it was, and a slow guesser cannot make the timer read them."""
    for number in range(1500):
        assert world.ask(f"guess{number}", BODY).status == 404
    assert world.service.models.serving() == []
    assert len(world.service.models._absent) <= 1000
    assert len(world.service.models._entries) == 0
