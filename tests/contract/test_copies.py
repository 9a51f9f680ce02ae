"""Copies beside the object store: the fakes, Postgres and a directory behave alike."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from tests.contract.test_scheduling import MemoryWorld, PostgresWorld
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.shelf import DirectoryShelf
from trainyard.errors import TransientError
from trainyard.testing.contracts import CopiesContract, ShelfContract
from trainyard.testing.fakes.copies import MemoryShelf

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


class TestMemory(CopiesContract):
    """The fake."""

    @pytest.fixture
    def world(self) -> MemoryWorld:
        """An empty one."""
        return MemoryWorld()


class TestPostgres(CopiesContract):
    """The adapter."""

    @pytest.fixture
    def world(self, engine: sa.Engine) -> PostgresWorld:
        """An empty database."""
        return PostgresWorld(PostgresStore(engine), Warehouse(engine))


class TestMemoryShelf(ShelfContract):
    """The fake."""

    @pytest.fixture
    def shelf(self) -> MemoryShelf:
        """An empty one."""
        return MemoryShelf()


class TestDirectoryShelf(ShelfContract):
    """The adapter."""

    @pytest.fixture
    def shelf(self, tmp_path: Path) -> DirectoryShelf:
        """A directory that is not there yet."""
        return DirectoryShelf(tmp_path / "copies")

    def test_nothing_half_written_stays(self, shelf: DirectoryShelf, tmp_path: Path) -> None:
        """A write that fails leaves no file; strangers' files are left alone."""
        with pytest.raises(ValueError, match="hash"):
            shelf.put("a" * 64, io.BytesIO(b"other"))
        assert list((tmp_path / "copies").iterdir()) == []
        (tmp_path / "copies" / "readme.txt").write_text("mine")
        assert list(shelf.hashes()) == []

    def test_a_directory_that_is_none(self, tmp_path: Path) -> None:
        """What the disk refuses is a failure that passes by itself, or that somebody mends."""
        (tmp_path / "file").write_text("")
        with pytest.raises(TransientError, match="directory of copies"):
            DirectoryShelf(tmp_path / "file").put("a" * 64, io.BytesIO(b""))
