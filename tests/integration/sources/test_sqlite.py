"""Pulling from a SQLite file."""

import sqlite3
from contextlib import closing

import pytest
from sql_suite import SqlSourceSuite, refused

from trainyard.clock import SystemClock
from trainyard_ingest.domain.pull_spec import TableSpec
from trainyard_ingest.pulling.engines import Access
from trainyard_ingest.pulling.tables import SqlTables


class SqliteShop:
    """A file ``shop.db`` that somebody writes to."""

    address = "sqlite:///shop.db"
    bytes_type, bytes_value = "blob", "x'00ff'"

    def __init__(self, directory):
        self.away = {"database": "sqlite:///gone.db"}
        self._path = directory / "shop.db"
        self.execute(
            "CREATE TABLE orders (id integer PRIMARY KEY, price numeric, city text, day date, at datetime, ok boolean)"
        )

    def execute(self, statement, values=()):
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(statement, values)

    def insert(self, *values):
        price = None if values[1] is None else float(values[1])
        self.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", (values[0], price, *values[2:]))

    def fill(self, count):
        for number in range(1, count + 1):
            self.insert(number, "1.5", "x", None, "2026-02-01 10:00:00", None)


class TestSqlite(SqlSourceSuite):
    """The suite."""

    @pytest.fixture
    def shop(self, tmp_path):
        """A file."""
        return SqliteShop(tmp_path)

    def test_a_place_that_cannot_be_noted(self, scene, shop):
        """A text with a NUL, which our database does not take, is refused as the source's matter."""
        shop.insert(1, "1", "a\0b", None, None, None)
        self.describe(scene, shop, cursor="city")
        assert "source_refused: a text with a NUL" in scene.error()

    @pytest.mark.parametrize("path", ["../shop.db", "a/../../shop.db", "", "nothing.db"])
    def test_only_within_its_directory(self, scene, shop, tmp_path, path):
        """A path that leads out of the directory, or to nothing, is refused alike."""
        (tmp_path / "inside").mkdir()
        access = Access(scene.access.rule, None, tmp_path / "inside", scene.access.ca_file)
        spec = TableSpec(**{**TableSpec.of(self.describe(scene, shop).description).__dict__, "database": path})

        def open_it():
            with SqlTables(access, SystemClock(), print).open(spec, scene.dataset.schema):
                raise AssertionError("it opened")

        assert refused(open_it).message == "there is no such SQLite file in TRAINYARD_PULL_DIR"

    def test_without_a_directory(self, scene, shop):
        """Where the operator has set none, no file is read."""
        access = Access(scene.access.rule, None, None, scene.access.ca_file)
        spec = TableSpec.of(self.describe(scene, shop).description)

        def open_it():
            with SqlTables(access, SystemClock(), print).open(spec, scene.dataset.schema):
                raise AssertionError("it opened")

        assert "it is not set" in refused(open_it).message

    def test_numbers_that_are_texts(self, scene, shop):
        """SQLite keeps any value in any column; one that does not fit the dataset is a rejected row."""
        shop.execute("INSERT INTO orders VALUES (1, 'cheap', 'x', NULL, NULL, NULL)")
        self.describe(scene, shop)
        assert "invalid_rows" in scene.error()

    def test_a_cursor_that_is_compared_without_case(self, scene, shop):
        """A column may call 'a' and 'A' equal where its key does not: every row is read, also across pages."""
        shop.execute("CREATE TABLE people (id integer DEFAULT 7, city text COLLATE NOCASE NOT NULL)")
        shop.execute("CREATE UNIQUE INDEX one ON people (city COLLATE BINARY)")
        names = ["B", "b", "A", "a", "c", "C"]
        for name in names:
            shop.execute("INSERT INTO people (city) VALUES (?)", (name,))
        self.describe(scene, shop, table="people", cursor="city", page_rows=1)
        assert scene.pull().last.error is None
        assert scene.rows("city") == sorted(names)
