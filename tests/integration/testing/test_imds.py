"""The fake metadata service answers as EC2's does: nothing without a token, notices when they are due."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from trainyard.errors import ConfigError
from trainyard.testing.imds import FakeImds
from trainyard.testing.nasty_sqs import NastySqs
from trainyard.testing.pgproxy import PgProxy
from trainyard_trainer.edges import Metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TTL = "X-aws-ec2-metadata-token-ttl-seconds"


@pytest.fixture
def imds() -> Iterator[FakeImds]:
    """A service with two instances."""
    with FakeImds() as imds:
        imds.add("i-1")
        imds.add("i-2", instance_type="g5.xlarge")
        yield imds


def _ask(method: str, url: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, ""


def _token(imds: FakeImds, instance_id: str, ttl: str = "60") -> str:
    return _ask("PUT", f"{imds.url(instance_id)}/latest/api/token", **{_TTL: ttl})[1]


def test_the_trainers_client_reads_it(imds: FakeImds) -> None:
    """The product's own client learns its instance, and of a notice only when there is one."""
    one, two = Metadata(imds.url("i-1")), Metadata(imds.url("i-2"))
    assert (one.instance_id(), two.instance_id()) == ("i-1", "i-2")
    assert one.interruption() is None
    imds.notice("i-1")
    assert json.loads(one.interruption() or "")["action"] == "terminate"
    assert two.interruption() is None
    imds.withdraw("i-1")
    assert one.interruption() is None


def test_nothing_without_a_token_of_ones_own(imds: FakeImds) -> None:
    """Version 1, an invented token and another instance's token are refused."""
    path = "latest/meta-data/instance-id"
    assert _ask("GET", f"{imds.url('i-1')}/{path}")[0] == 401
    assert _ask("GET", f"{imds.url('i-1')}/{path}", **{"X-aws-ec2-metadata-token": "guessed"})[0] == 401
    token = _token(imds, "i-2")
    assert _ask("GET", f"{imds.url('i-1')}/{path}", **{"X-aws-ec2-metadata-token": token})[0] == 401
    assert _ask("GET", f"{imds.url('i-2')}/{path}", **{"X-aws-ec2-metadata-token": token}) == (200, "i-2")
    assert imds.counts[401] == 3


@pytest.mark.parametrize(("ttl", "status"), [("0", 400), ("x", 400), ("21601", 400), ("21600", 200)])
def test_a_tokens_life_has_limits(imds: FakeImds, ttl: str, status: int) -> None:
    """A token lives from one second to six hours."""
    assert _ask("PUT", f"{imds.url('i-1')}/latest/api/token", **{_TTL: ttl})[0] == status


def test_an_unknown_instance_gets_no_token(imds: FakeImds) -> None:
    """Only instances that were added are answered for."""
    assert _ask("PUT", f"{imds.url('i-9')}/latest/api/token", **{_TTL: "60"})[0] == 404


@pytest.mark.parametrize("env", ["prod", "dev", ""])
@pytest.mark.parametrize("make", [FakeImds, lambda: NastySqs("http://127.0.0.1:1"), lambda: PgProxy(1)])
def test_tools_are_refused_outside_tests(
    make: Callable[[], object], env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither shim nor proxy nor fake starts where TRAINYARD_ENV is not "test", however it was imported."""
    monkeypatch.setenv("TRAINYARD_ENV", env)
    with pytest.raises(ConfigError, match="TRAINYARD_ENV=test"):
        make()
