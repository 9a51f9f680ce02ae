"""`backup` and `restore`: what they say and end with; the work itself is tested on a real database."""

from __future__ import annotations

import io
import sys

import pytest

from trainyard.backup_file import About, Writer
from trainyard_client.cli.exits import Exit

ABOUT = About("00000000-0000-4000-8000-000000000000", "0.1.0", "0001", "2026-01-01T00:00:00+00:00", 1, 5)


@pytest.fixture
def whole():
    """A backup of one object."""
    file = io.BytesIO()
    writer = Writer(file, ABOUT)
    writer.add("objects/models/a.msgpack", b"bytes")
    writer.end({"models/b.msgpack": "it is gone"})
    return file.getvalue()


def test_a_file_is_checked(trainyard, tmp_path, whole):
    """Nothing but the file is needed; what is missing in it is named."""
    file = tmp_path / "monday.trainyard"
    file.write_bytes(whole)
    done = trainyard("restore", "--check", str(file))
    assert (done.code, done.err) == (Exit.OK, "")
    assert f"{file} is whole: release 0.1.0, 2026-01-01 00:00:00 UTC, 1 objects of 5 bytes" in done.out
    said = trainyard("restore", "--check", str(file), "--json").json
    assert (said["id"], said["missing"]) == (ABOUT.id, {"models/b.msgpack": "it is gone"})


def test_a_damaged_file(trainyard, tmp_path, whole):
    """It is refused in one sentence."""
    file = tmp_path / "monday.trainyard"
    file.write_bytes(whole.replace(b"bytes", b"Bytes"))
    done = trainyard("restore", "--check", str(file))
    assert done.code == Exit.REFUSED
    assert "the backup is damaged" in done.err


def test_standard_input(trainyard, monkeypatch, whole):
    """`-` is read from a pipe."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(whole)))
    assert trainyard("restore", "--check", "-").code == Exit.OK


def test_files_that_cannot_be(trainyard, tmp_path):
    """A backup is not written over, none that is not there is read, and one that was begun does not stay."""
    there = tmp_path / "there"
    there.write_text("mine")
    done = trainyard("backup", str(there))
    assert (done.code, there.read_text()) == (Exit.USAGE, "mine")
    assert "choose another name" in done.err
    assert trainyard("restore", str(tmp_path / "none")).code == Exit.USAGE
    assert trainyard("backup", str(tmp_path / "nowhere" / "file")).code == Exit.USAGE
    done = trainyard("backup", str(tmp_path / "file"))
    assert done.code == Exit.DATA_DIRECTORY
    assert "there is no stack in" in done.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["there"]
