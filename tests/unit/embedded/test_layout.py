"""The data directory: accepted, refused, locked; log files kept small; as whom Postgres runs."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import ManualClock
from trainyard_embedded.errors import EXIT_DATA_DIRECTORY, EXIT_DEPENDENCY, EXIT_IN_USE, StackError
from trainyard_embedded.identity import AsUser, AsWeAre, InNamespace, decide
from trainyard_embedded.layout import Layout
from trainyard_embedded.logfiles import LogFiles
from trainyard_embedded.postgres import MAJOR, Cluster

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_directory_is_made_and_taken_again(tmp_path: Path) -> None:
    """All parts are there, closed to others, and a second start accepts them."""
    layout = Layout(tmp_path / "a" / "b")
    layout.prepare()
    layout.prepare()
    assert {path.name for path in layout.root.iterdir() if path.is_dir()} == {
        "aws", "spool", "metrics", "work", "logs", "run", "keys", "console", "copies",
    }  # fmt: skip
    assert {path.stat().st_mode & 0o077 for path in (layout.root, *layout.root.iterdir())} == {0}


def _foreign(root: Path) -> None:
    (root / "thesis.txt").write_text("mine")


def _cut_short(root: Path) -> None:
    (root / "trainyard.json").write_text("{")


def _newer(root: Path) -> None:
    (root / "trainyard.json").write_text(json.dumps({"format": 99}))


def _a_file(root: Path) -> None:
    root.rmdir()
    root.write_text("")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_foreign, "not a Trainyard data"), (_cut_short, "broken"), (_newer, "format 99"), (_a_file, "cannot be used")],
)
def test_a_directory_that_is_not_ours_is_refused(tmp_path: Path, spoil: object, words: str) -> None:
    """Each gets one sentence with the directory's name, and nothing in it is changed."""
    spoil(tmp_path)  # type: ignore[operator]
    before = sorted(tmp_path.rglob("*")) if tmp_path.is_dir() else []
    with pytest.raises(StackError, match=words) as caught:
        Layout(tmp_path).prepare()
    assert caught.value.exit_code == EXIT_DATA_DIRECTORY
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before == (sorted(tmp_path.rglob("*")) if tmp_path.is_dir() else [])


def test_a_directory_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    """The second is told the pid of the first; after the first has gone, the next gets in."""
    layout = Layout(tmp_path)
    layout.prepare()
    with layout.locked():
        owner = layout.owner()
        assert owner is not None
        with pytest.raises(StackError, match=f"in use by the process with pid {owner.pid}") as caught, layout.locked():
            pass
    assert caught.value.exit_code == EXIT_IN_USE
    with layout.locked():
        assert layout.owner() == owner


@pytest.mark.parametrize(
    ("version", "control", "words"),
    [("17", b"x", "written by Postgres 17"), (MAJOR, b"", "not a whole"), (None, b"x", "not a whole")],
)
def test_a_cluster_that_cannot_be_served_is_refused(
    tmp_path: Path, version: str | None, control: bytes, words: str
) -> None:
    """Another release's data and damaged data each get one sentence."""
    directory = tmp_path / "postgres"
    (directory / "global").mkdir(parents=True)
    (directory / "global" / "pg_control").write_bytes(control)
    if version is not None:
        (directory / "PG_VERSION").write_text(version + "\n")
    cluster = Cluster(directory, tmp_path / "password", 5432, tmp_path, AsWeAre(), ManualClock())
    with pytest.raises(StackError, match=words) as caught:
        cluster.check()
    assert caught.value.exit_code == EXIT_DATA_DIRECTORY


def test_a_socket_path_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    """Postgres would refuse to start with it; TCP on the loopback remains."""
    near = Cluster(tmp_path / "p", tmp_path / "w", 5432, tmp_path, AsWeAre(), ManualClock())
    far = Cluster(tmp_path / ("p" * 90), tmp_path / "w", 5432, tmp_path, AsWeAre(), ManualClock())
    assert "unix_socket_directories=" in far.command()
    assert near.command()[2] == str(near.directory)


def test_postgres_runs_as_root_only_under_another_name() -> None:
    """An ordinary user runs it directly; root prefers a namespace and falls back to another user."""
    other = AsWeAre()
    assert type(decide(1000, lambda: True, lambda: other)) is AsWeAre
    assert isinstance(decide(0, lambda: True, lambda: other), InNamespace)
    assert decide(0, lambda: False, lambda: other) is other


def test_a_user_that_cannot_reach_the_programs_is_named(tmp_path: Path) -> None:
    """The sentence names the user, the path and the ways out."""
    me = pwd.getpwuid(os.geteuid())
    way = AsUser(me, tmp_path / "bin", reaches=lambda path: path == tmp_path)
    with pytest.raises(StackError, match=f"user '{me.pw_name}' cannot reach {tmp_path}/bin/postgres; run as") as caught:
        way.prepare(tmp_path / "postgres")
    assert caught.value.exit_code == EXIT_DEPENDENCY


def test_logs_stay_small_while_they_are_written(tmp_path: Path) -> None:
    """A log past the limit moves aside once; the writer that has it open carries on in the emptied file."""
    files = LogFiles(tmp_path, most_bytes=10)
    with files.open("web") as writer:
        writer.write(b"0123456789 and more\n")
        writer.flush()
        files.shrink_all()
        writer.write(b"after\n\n")
        writer.flush()
    assert files.path("web").read_bytes() == b"after\n\n"
    assert (tmp_path / "web.log.1").read_bytes() == b"0123456789 and more\n"
    assert files.last_line("web") == "after"
    assert files.last_line("nobody") == "(nothing)"
