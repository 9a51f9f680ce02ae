"""A challenger answers its share of the requests to the champion, the same callers each time, and fails none."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from trainyard.alias_object import alias_key
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.publishing import point_alias, publish_version

if TYPE_CHECKING:
    from conftest import World

BODY = {"rows": sample_rows(1)}
ASKED = 400


def answered(world: World, sticky: str, target: str = "flights") -> int:
    """Return the version that answers whoever calls himself that."""
    response = world.ask(target, BODY, x_trainyard_sticky=sticky)
    assert response.status == 200, response.body
    version: int = json.loads(response.body)["version"]
    assert response.headers["x-trainyard-version"] == str(version)
    return version


def versions(world: World) -> dict[str, int]:
    """Return the version that answers each of many callers."""
    return {f"user-{number}": answered(world, f"user-{number}") for number in range(ASKED)}


def challenge(world: World, *, weight: float, seq: int, **kind: object) -> None:
    """Make version 2 challenger with that share and let the predictor see it."""
    world.publish(2, alias="challenger", weight=weight, seq=seq, **kind)
    world.pass_seconds(2)


def test_the_challenger_answers_its_share(world: World) -> None:
    """At a tenth about a tenth of the callers get version 2; at nothing nobody does, at all everybody."""
    answered(world, "first")
    challenge(world, weight=0.1, seq=1)
    counts = Counter(versions(world).values())
    assert set(counts) == {1, 2}
    assert 0.04 * ASKED < counts[2] < 0.18 * ASKED  # four standard deviations either way
    challenge(world, weight=0.0, seq=2)
    assert set(versions(world).values()) == {1}
    challenge(world, weight=1.0, seq=3)
    assert set(versions(world).values()) == {2}


def test_a_share_that_grows_keeps_its_callers(world: World) -> None:
    """Who got the challenger gets it again, and still does when the share is raised."""
    answered(world, "first")
    challenge(world, weight=0.1, seq=1)
    few = versions(world)
    assert versions(world) == few
    challenge(world, weight=0.3, seq=2)
    more = versions(world)
    assert all(more[name] == 2 for name, version in few.items() if version == 2)
    assert Counter(more.values())[2] > Counter(few.values())[2]


def test_without_a_name_the_row_decides(world: World) -> None:
    """The same row is answered by the same version, whatever the order of its columns; all rows are not by one."""
    world.ask("flights", BODY)
    challenge(world, weight=0.5, seq=1)
    found = []
    for row in sample_rows(60, seed=9):
        turned = dict(reversed(row.items()))
        both = {json.loads(world.ask("flights", {"rows": [r]}).body)["version"] for r in (row, turned)}
        assert len(both) == 1
        found += both
    assert set(found) == {1, 2}


def test_versions_and_other_aliases_are_never_shared(world: World) -> None:
    """Whoever names a version or another alias gets it."""
    world.publish(1, alias="steady")
    answered(world, "first")
    challenge(world, weight=1.0, seq=1)
    assert answered(world, "a") == 2
    assert answered(world, "a", "flights@1") == answered(world, "a", "flights@steady") == 1
    assert answered(world, "a", "flights@challenger") == 2


def test_a_challenger_that_takes_other_rows_fails_nobody(world: World) -> None:
    """Rows that only the champion takes are answered by it, and counted."""
    answered(world, "first")
    challenge(world, weight=1.0, seq=1, gate=True)
    assert answered(world, "a") == 1
    assert "trainyard_challenger_declined_total 1\n" in world.metrics()


def test_a_challenger_whose_alias_is_removed_takes_no_share(world: World) -> None:
    """One look after its object is gone the champion answers all."""
    answered(world, "first")
    challenge(world, weight=1.0, seq=1)
    assert answered(world, "a") == 2
    world.blobs.delete(alias_key("flights", "challenger"))
    world.pass_seconds(2)
    assert answered(world, "a") == 1


def test_a_broken_challenger_takes_no_share(world: World) -> None:
    """The champion answers all while the challenger cannot be loaded, and the metrics say why."""
    answered(world, "first")
    pointer = publish_version(world.blobs, sample_model(seed=2), 2)
    world.blobs.put(pointer.key, b"torn")
    point_alias(world.blobs, pointer, seq=1, alias="challenger")
    world.pass_seconds(2)
    assert answered(world, "a") == 1
    assert 'trainyard_model_refused{model="flights",alias="challenger"} 1.0\n' in world.metrics()
    assert 'trainyard_model_refused{model="flights",alias="champion"} 0.0\n' in world.metrics()


def test_names_are_checked(world: World) -> None:
    """An empty name and one that is too long are refused."""
    for name in ("", "a" * 256):
        response = world.ask("flights", BODY, x_trainyard_sticky=name)
        assert (response.status, json.loads(response.body)["error"]["code"]) == (400, "bad_request")
