"""The shipped process table and the environment that its children get."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import ManualClock
from trainyard.config import SETTINGS, load
from trainyard_embedded import environment, keys, stack, table
from trainyard_embedded.identity import AsWeAre
from trainyard_embedded.layout import Layout
from trainyard_embedded.postgres import Cluster
from trainyard_embedded.supervisor import check_table

if TYPE_CHECKING:
    from trainyard_embedded.child import Child

ENVIRON = {
    "PATH": "/usr/bin",
    "HOME": "/home/x",
    "SSL_CERT_FILE": "/etc/ca.pem",
    "TRAINYARD_FLEET_MAX": "5",
    "TRAINYARD_EXTRA": "kept",
    "AWS_PROFILE": "production",
    "AWS_SESSION_TOKEN": "real",
    "HTTPS_PROXY": "http://proxy:3128",
    "PYTHONPATH": "/somewhere",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture
def children(tmp_path: Path) -> dict[str, Child]:
    """Return the table of a fresh data directory, by name."""
    layout = Layout(tmp_path / "data")
    layout.prepare()
    config = load(ENVIRON | {"TRAINYARD_DATA_DIR": str(layout.root)})
    cluster = Cluster(layout.postgres, layout.keys / "password", 5432, Path("/pg/bin"), AsWeAre(), ManualClock())
    config = stack.complete(config, layout, cluster)
    return {child.name: child for child in table.children(config, ENVIRON, layout, cluster)}


def test_the_table_can_be_started_and_stops_database_last(children: dict[str, Child]) -> None:
    """Needs stand before those that need them; the router stops first, the emulator and Postgres last."""
    check_table(children.values())
    stages = {name: child.stage for name, child in children.items()}
    assert stages["router"] == max(stages.values())
    assert [name for name, stage in stages.items() if stage == min(stages.values())] == ["postgres", "migrate"]
    assert stages["aws"] < min(stages[name] for name in ("ingest", "scheduler", "predictor", "ec2host"))


def test_only_those_who_need_the_database_know_its_password(children: dict[str, Child]) -> None:
    """The predictor, the console, the router and the emulator find no database address."""
    knowing = {name for name, child in children.items() if "TRAINYARD_DATABASE_URL" in child.env}
    assert knowing == {"migrate", "ingest", "ingest-worker", "scheduler", "scheduler-worker", "ec2host"}
    password = children["ingest"].env["TRAINYARD_DATABASE_URL"].split(":")[2].split("@")[0]
    assert not [name for name, child in children.items() if name not in knowing and password in str(child.env)]


def test_no_child_finds_a_way_to_a_real_account_or_a_proxy(children: dict[str, Child]) -> None:
    """Credentials, profiles, proxies and thread settings of the caller stay out; the allow-list comes in."""
    for child in children.values():
        assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTPS_PROXY", "PYTHONPATH", "OMP_NUM_THREADS"} & set(child.env)
    ingest = children["ingest"].env
    assert (ingest["AWS_ACCESS_KEY_ID"], ingest["AWS_ENDPOINT_URL"]) == ("test", "http://127.0.0.1:4566")
    assert (ingest["SSL_CERT_FILE"], ingest["TRAINYARD_EXTRA"]) == ("/etc/ca.pem", "kept")
    assert "AWS_ACCESS_KEY_ID" not in children["router"].env


def test_the_emulator_stays_on_the_loopback_and_away_from_docker(children: dict[str, Child]) -> None:
    """It listens on 127.0.0.1 only, opens no second listener, and looks for Docker where there is none."""
    env = children["aws"].env
    assert env["BIND_HOST"] == "127.0.0.1"
    assert not Path(env["DOCKER_HOST"].removeprefix("unix://")).exists()
    assert env["SFTP_ENABLED"] == env["IOT_MTLS_ENABLED"] == "0"


def test_settings_survive_the_way_through_the_environment() -> None:
    """What a child reads equals what the supervisor had, for every setting and kind of value."""
    config = replace(
        load({}), data_dir=Path("/a b"), spot=False, allowed_hosts=("x", "y"), fleet_max=7, lease_seconds=9, env="test"
    )
    rendered = environment.settings(config)
    assert load(rendered) == config
    assert set(rendered) == {setting.variable for setting in SETTINGS}


def test_the_key_is_made_once_and_is_nobodys_business(tmp_path: Path) -> None:
    """A second start finds the same key; its file is readable by the owner only."""
    made = iter(["ty_1", "ty_2"])
    file = keys.ensure(tmp_path, lambda: next(made))
    assert keys.ensure(tmp_path, lambda: next(made)) == file
    assert file.read_text() == "ty_1\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_emulators_queue_snapshot_is_good_for_one_start(children: dict[str, Child], tmp_path: Path) -> None:
    """An orderly restart finds its queues again; after a crash they are made anew, so that senders can tell."""
    snapshot = tmp_path / "data" / "aws" / "state" / "sqs.json"
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    snapshot.write_text("{}")
    children["aws"].prepare()
    assert snapshot.exists()
    children["aws"].prepare()
    assert not snapshot.exists()
    children["aws"].prepare()
