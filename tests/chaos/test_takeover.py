"""Zombies, kills and spot notices: with short leases several times, with the leases of production once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from takeover import (
    NOTICE_EXIT,
    NOTICE_TAKEOVER,
    PRODUCTION_LEASE,
    PRODUCTION_TAKEOVER,
    Takeover,
    killed,
    mass_notices,
    noticed,
    zombie,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_SHORT = 3
_ROUNDS = 3


@pytest.mark.scenario(run=zombie)
@pytest.mark.parametrize("lease", [PRODUCTION_LEASE])
def test_zombie_in_production(lease: int, outcome: Callable[[], Takeover]) -> None:
    """Lease 60 s: a worker that slept through its lease publishes nothing; the next attempt began within 90 s."""
    assert outcome().seconds <= PRODUCTION_TAKEOVER


@pytest.mark.scenario(run=killed)
@pytest.mark.parametrize("lease", [PRODUCTION_LEASE])
def test_takeover_in_production(lease: int, outcome: Callable[[], Takeover]) -> None:
    """Lease 60 s: the next attempt begins within 90 s of a kill -9."""
    assert outcome().seconds <= PRODUCTION_TAKEOVER


@pytest.mark.scenario(run=noticed)
@pytest.mark.parametrize("lease", [PRODUCTION_LEASE])
def test_notice_in_production(lease: int, outcome: Callable[[], Takeover]) -> None:
    """Lease 60 s: the next attempt begins within 10 s of a spot notice, and none is used up."""
    assert outcome().seconds <= NOTICE_TAKEOVER


@pytest.mark.scenario(run=zombie, pool="cells")
@pytest.mark.parametrize("lease", [_SHORT] * _ROUNDS)
def test_zombie(lease: int, outcome: Callable[[], Takeover]) -> None:
    """The zombie publishes nothing, says so, and works on."""
    assert outcome().attempts == 2


@pytest.mark.scenario(run=killed, pool="cells")
@pytest.mark.parametrize("lease", [_SHORT] * _ROUNDS)
def test_takeover(lease: int, outcome: Callable[[], Takeover]) -> None:
    """Another worker takes over and publishes once."""
    assert outcome().attempts == 2


@pytest.mark.scenario(run=mass_notices)
@pytest.mark.parametrize(("seed", "notices", "dark_seconds"), [(1, 10, 5.0)])
def test_mass_notices(seed: int, notices: int, dark_seconds: float, outcome: Callable[[], dict[str, Any]]) -> None:
    """No request is lost, no attempt is used up, every trainer ends in time."""
    assert outcome()["slowest_exit"] < NOTICE_EXIT
