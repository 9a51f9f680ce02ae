"""The demo's data directory: fresh each time, and never somebody else's."""

from __future__ import annotations

import pytest

from trainyard import config
from trainyard_demo import stage
from trainyard_demo.errors import DemoError


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Prepare the stage with every port free and nothing running; gives settings and notes."""
    monkeypatch.setattr(stage, "port_problem", lambda _port: None)

    def prepare(**environ):
        monkeypatch.chdir(tmp_path)
        return stage.prepare(config.load(environ), environ)

    return prepare


def test_default_directory(prepared, tmp_path):
    """Without a setting the demo keeps its data where it was started."""
    settings, notes = prepared()
    assert settings.data_dir == tmp_path / stage.DEFAULT_DIRECTORY
    assert (settings.data_dir / "trainyard.json").exists()
    assert notes == []


def test_a_second_demo_starts_fresh_and_says_so(prepared, tmp_path):
    """What the demo before left is removed."""
    settings, _ = prepared(TRAINYARD_DATA_DIR=str(tmp_path / "demo"))
    (settings.data_dir / "work" / "old").write_text("old")
    settings, notes = prepared(TRAINYARD_DATA_DIR=str(tmp_path / "demo"))
    assert not (settings.data_dir / "work" / "old").exists()
    assert "removed" in notes[0]


def test_other_data_is_left_alone(prepared, tmp_path):
    """A directory that no demo made is refused, not removed."""
    precious = tmp_path / "data" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(DemoError, match="not a demo's"):
        prepared(TRAINYARD_DATA_DIR=str(precious.parent))
    assert precious.read_text() == "mine"


def test_busy_ports_are_replaced_and_named(prepared, monkeypatch):
    """A busy default port is exchanged for a free one, said so, and no two are equal."""
    monkeypatch.setattr(stage, "port_problem", lambda port: "is in use" if port in {8080, 5432} else None)
    monkeypatch.setattr(stage, "_free_ports", lambda count, taken: [40001, 40002][:count])
    settings, notes = prepared()
    assert (settings.router_port, settings.postgres_port, settings.ingest_port) == (40001, 40002, 8081)
    assert notes == ["port 8080 is busy, router takes 40001", "port 5432 is busy, postgres takes 40002"]
