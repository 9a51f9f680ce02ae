"""One rehearsal for the whole session; what its containers wrote is printed when a test fails."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from account import REGION, Rehearsal
from engine import ROOT, Corner
from fleet import FleetMachines

from trainyard_deploy.choices import Choices

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENVIRON = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
}


@pytest.fixture(scope="session")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corner]:
    """A corner of the machine's Docker engine with an emulator in it; all of it is removed at the end."""
    shared = tmp_path_factory.mktemp("rehearse")
    kept = {name: os.environ.get(name) for name in (*_ENVIRON, "DOCKER_CONFIG")}
    os.environ.update(_ENVIRON, DOCKER_CONFIG=str(shared / "docker"))  # whom the engine is logged in as is not ours
    one = Corner(f"trainyard-rehearse-{secrets.token_hex(3)}", shared)
    try:
        one.start()
        yield one
    finally:
        one.remove()
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture(scope="session")
def target(corner: Corner) -> Rehearsal:
    """The environment `rehearse`, with a function of its own for one model, and functions that know API keys."""
    choices = Choices(own_functions=("rehearsed_own",), predictor_auth="NONE")
    return Rehearsal("rehearse", choices, ROOT, region=REGION, endpoint=corner.endpoint, corner=corner)


@pytest.fixture(scope="session")
def fleet(corner: Corner, target: Rehearsal) -> Iterator[FleetMachines]:
    """Machines for its fleet."""
    machines = FleetMachines(corner, target.client, target.env)
    machines.start()
    yield machines
    machines.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add what the containers wrote to the report of a test that failed."""
    report = yield
    corner = getattr(item, "funcargs", {}).get("corner")
    if report.failed and corner is not None:
        report.sections.append(("containers", "\n".join(corner.logs())))
    return report
