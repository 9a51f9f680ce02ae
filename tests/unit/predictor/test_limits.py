"""What a predictor does not take: too many requests of one key, answers that come too late or cannot be logged."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import ManualClock
from trainyard.config import load
from trainyard.errors import ConfigError, ServiceError
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.publishing import point_alias, publish_version
from trainyard_predictor.edges.limits import OwnDues, RateLimit
from trainyard_predictor.web.dues import SharedDues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import World

    from trainyard_predictor.handler import Response

BODY = {"rows": sample_rows(2)}
#: In an interpreter of its own, because a process with threads had better not fork.
FORKED = """
import os, signal
from trainyard.errors import ServiceError
from trainyard.clock import SystemClock
from trainyard_predictor.edges.limits import RateLimit
from trainyard_predictor.web.dues import SharedDues

dues = SharedDues()
limit = RateLimit(1e-6, 100, SystemClock(), dues)

def taken(times):
    allowed = 0
    for _ in range(times):
        try:
            limit.take("a")
            allowed += 1
        except ServiceError:
            pass
    return allowed

if (killed := os.fork()) == 0:
    with dues._alone():
        os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(killed, 0)
children = []
for _ in range(4):
    if (child := os.fork()) == 0:
        os._exit(taken(100))
    children.append(child)
print(sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
print(taken(10))
"""


def code_of(response: Response) -> tuple[int, str]:
    """Return status and code of a refusal."""
    return response.status, json.loads(response.body)["error"]["code"]


def full_disk(_: Sequence[bytes]) -> None:
    """Stand for a spool without room."""
    raise OSError(errno.ENOSPC, "no space left on device")


def test_a_key_that_asks_too_often_waits(made_world: Callable[..., World]) -> None:
    """The burst passes, the next is told when to come again, and then it passes; nothing of it was logged."""
    world = made_world(TRAINYARD_KEY_RATE="0.5", TRAINYARD_KEY_BURST="3")
    assert [world.ask("flights", BODY).status for _ in range(3)] == [200, 200, 200]
    refused = world.ask("flights", BODY)
    assert code_of(refused) == (429, "too_many_requests")
    assert refused.headers["Retry-After"] == "2"
    assert len(world.logged()) == 3 * len(BODY["rows"])
    world.pass_seconds(2)
    assert world.ask("flights", BODY).status == 200
    assert world.ask("flights", BODY).status == 429


def test_a_request_with_a_bad_key_takes_nothing_from_anybody(made_world: Callable[..., World]) -> None:
    """Whoever knows a key's id and not its secret cannot use up its requests."""
    world = made_world(TRAINYARD_KEY_RATE="1", TRAINYARD_KEY_BURST="1")
    for _ in range(5):
        assert world.ask("flights", BODY, authorization="Bearer ty_nobody").status == 401
    assert world.ask("flights", BODY).status == 200


def taken(limit: RateLimit, key_id: str, times: int) -> int:
    """Ask so many times; return how often that was allowed."""
    allowed = 0
    for _ in range(times):
        try:
            limit.take(key_id)
        except ServiceError as e:
            assert e.code == "too_many_requests"  # noqa: PT017 - others of the loop are allowed
        else:
            allowed += 1
    return allowed


@pytest.fixture
def shared() -> Iterator[SharedDues]:
    """Buckets that processes share."""
    made = SharedDues()
    yield made
    made.close()


def test_each_key_has_its_own_bucket_and_no_rate_is_no_limit() -> None:
    """One key's flood leaves another's requests alone; buckets of keys that went are forgotten."""
    clock, dues = ManualClock(), OwnDues()
    limit = RateLimit(10.0, 1, clock, dues)
    limit.take("a")
    limit.take("b")
    with pytest.raises(ServiceError, match="too_many_requests"):
        limit.take("a")
    for number in range(10_000):
        limit.take(f"key-{number}")
    clock.advance(1)
    limit.take("last")
    assert len(dues) == 1
    free = RateLimit(0.0, 1, clock)
    assert taken(free, "a", 1_000) == 1_000


@pytest.mark.parametrize("own", [True, False])
def test_a_bucket_fills_at_the_rate_and_no_higher_than_the_burst(shared: SharedDues, *, own: bool) -> None:
    """After the burst one request passes for each step of the rate; a long silence gives back the burst and no more."""
    clock = ManualClock()
    limit = RateLimit(4.0, 10, clock, OwnDues() if own else shared)
    assert taken(limit, "a", 50) == 10
    assert taken(limit, "b", 50) == 10
    allowed = []
    for _ in range(6):
        clock.advance(0.125)
        allowed.append(taken(limit, "a", 5))
    assert allowed == [0, 1, 0, 1, 0, 1]
    clock.advance(3600)
    assert taken(limit, "a", 50) == 10


def test_processes_that_share_buckets_allow_together_what_one_may() -> None:
    """Of what four processes ask at once, exactly the burst passes, though one was killed while it held the lock."""
    answer = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == ["100", "0"]


def test_more_keys_than_the_shared_table_has_places_are_allowed_their_requests(shared: SharedDues) -> None:
    """Whoever finds no place is not refused for that, and a key that asked just now is still known."""
    limit = RateLimit(1e-3, 1, ManualClock(), shared)
    assert sum(taken(limit, f"key-{number}", 1) for number in range(20_000)) == 20_000
    assert taken(limit, "key-19999", 1) == 0


def test_an_answer_that_comes_too_late_is_none(made_world: Callable[..., World]) -> None:
    """When the store takes longer than a request may, it gets 504 and nothing is logged; the next one is in time."""
    world = made_world(TRAINYARD_REQUEST_SECONDS="2")
    get = world.blobs.get

    def slow(key: str) -> object:
        world.clock.advance(3)
        return get(key)

    world.blobs.get = slow  # type: ignore[assignment, method-assign]
    assert code_of(world.ask("flights", BODY)) == (504, "deadline_exceeded")
    world.blobs.get = get  # type: ignore[method-assign]
    assert world.logged() == []
    assert world.ask("flights", BODY).status == 200


def test_a_closed_log_answers_nothing_that_is_not_logged(
    made_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the policy closed a full disk is 503, counted, and the same request is answered once there is room."""
    world = made_world(TRAINYARD_PREDICTION_LOG_POLICY="closed")
    with monkeypatch.context() as broken:
        broken.setattr(world.service.spool, "append", full_disk)
        refused = world.ask("flights", BODY, idempotency_key="once")
    assert code_of(refused) == (503, "not_logged")
    assert refused.headers["Retry-After"] == "1"
    assert "trainyard_predictions_not_logged_total 2\n" in world.metrics()
    assert world.logged() == []
    answer = world.ask("flights", BODY, idempotency_key="once")
    assert answer.status == 200
    assert [record["id"] for record in world.logged()] == [
        row["prediction_id"] for row in json.loads(answer.body)["rows"]
    ]


def test_an_open_log_says_what_is_not_logged(made_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    """By default the answer goes out with a flag in each row, and is counted."""
    world = made_world()
    monkeypatch.setattr(world.service.spool, "append", full_disk)
    answer = world.ask("flights", BODY)
    assert answer.status == 200
    assert [row["logged"] for row in json.loads(answer.body)["rows"]] == [False, False]
    assert "trainyard_predictions_not_logged_total 2\n" in world.metrics()


def test_a_predictor_of_some_models_knows_no_others(made_world: Callable[..., World]) -> None:
    """With TRAINYARD_MODELS the others are 404 here, whatever the store has."""
    world = made_world(TRAINYARD_MODELS="trains, ships")
    point_alias(world.blobs, publish_version(world.blobs, sample_model(name="trains"), 1), seq=1)
    assert world.ask("trains", BODY).status == 200
    assert code_of(world.ask("flights", BODY)) == (404, "unknown_model")
    assert code_of(world.ask("flights@1", BODY)) == (404, "unknown_model")


def test_the_cache_is_as_large_as_it_is_set(made_world: Callable[..., World]) -> None:
    """A limit that one model fills lets the other go; a model over the limit is refused, and never 500."""
    one = publish_version(made_world().blobs, sample_model(seed=1), 1).size
    world = made_world(TRAINYARD_MODEL_CACHE_BYTES=str(one + 100))
    point_alias(world.blobs, publish_version(world.blobs, sample_model(name="trains"), 1), seq=1)
    for name in ("flights", "trains", "flights"):
        world.clock.advance(1)
        assert world.ask(name, BODY).status == 200
        assert {served.model for _, served in world.service.models.serving()} == {name}
    tiny = made_world(TRAINYARD_MODEL_CACHE_BYTES="100")
    assert code_of(tiny.ask("flights", BODY)) == (503, "unavailable")


def test_a_challenger_pushes_nothing_out(made_world: Callable[..., World]) -> None:
    """Where there is room for the champion only, the challenger is let go and the champion answers its share."""
    one = publish_version(made_world().blobs, sample_model(seed=1), 1).size
    world = made_world(TRAINYARD_MODEL_CACHE_BYTES=str(one + 100))
    assert world.ask("flights", BODY).status == 200
    world.publish(2, alias="challenger")
    for _ in range(3):
        world.pass_seconds(40)
        assert json.loads(world.ask("flights", BODY).body)["version"] == 1


def test_a_policy_that_nobody_knows_is_refused() -> None:
    """The setting is open or closed."""
    with pytest.raises(ConfigError, match="open or closed"):
        load({"TRAINYARD_PREDICTION_LOG_POLICY": "ajar"})
