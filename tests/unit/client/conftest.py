"""The fake service, a client of it, and the `trainyard` command against it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_api import URL, FakeApi

from trainyard.clock import ManualClock
from trainyard_client import Client
from trainyard_client.cli import frame
from trainyard_client.main import run

KEY = "ty_0123456789abcdef_" + "0" * 64 + "_00000000"


@pytest.fixture
def api() -> FakeApi:
    """A service that answers what the test says."""
    return FakeApi()


@pytest.fixture
def clock() -> ManualClock:
    """Time that passes only in pauses."""
    return ManualClock()


@pytest.fixture
def client(api: FakeApi, clock: ManualClock) -> Client:
    """A client of the fake service."""
    return Client(URL, KEY, clock=clock, session=api.session())


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@pytest.fixture
def trainyard(api: FakeApi, clock: ManualClock, monkeypatch, capsys, tmp_path):
    """Run a command line of `trainyard` against the fake service."""
    monkeypatch.setattr(
        frame,
        "Client",
        lambda url, key, **more: Client(url, key, clock=clock, session=api.session(), **more),
    )

    def call(*arguments: str, **environ: str) -> Done:
        surroundings = {
            "TRAINYARD_CONFIG_DIR": str(tmp_path / "config"),
            "TRAINYARD_DATA_DIR": str(tmp_path / "none"),
            "TRAINYARD_URL": URL,
            "TRAINYARD_API_KEY": KEY,
        }
        code = run(arguments, surroundings | environ)
        captured = capsys.readouterr()
        return Done(int(code), captured.out, captured.err)

    return call
