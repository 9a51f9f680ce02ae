"""Secrets of a stack of containers: made once, each where only those can read it who need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainyard import auth
from trainyard_setup import secret_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder as its volumes make it."""
    for name in ("database", "admin"):
        (tmp_path / name).mkdir()
    return tmp_path


def _texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_second_start_changes_nothing(folder: Path) -> None:
    """The same files with the same content."""
    secret_files.ensure(folder)
    first = _texts(folder)
    secret_files.ensure(folder)
    assert _texts(folder) == first


def test_a_password_without_its_copy_is_completed(folder: Path) -> None:
    """A start that was cut off between the two has not made another password."""
    secret_files.ensure(folder)
    first = _texts(folder)
    (folder / "database" / "pgpass").unlink()
    secret_files.ensure(folder)
    assert _texts(folder) == first


def test_each_file_is_as_closed_as_its_readers_allow(folder: Path) -> None:
    """Keys are well-formed and private; libpq takes its file only when it is private; the server reads the password."""
    secret_files.ensure(folder)
    modes = {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert modes == {"admin/key": 0o600, "database/pgpass": 0o600, "database/password": 0o644}
    assert auth.parse_key((folder / "admin" / "key").read_text().strip())
    password = (folder / "database" / "password").read_text().strip()
    assert (folder / "database" / "pgpass").read_text() == f"*:*:*:trainyard:{password}\n"
