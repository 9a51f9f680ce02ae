"""What pulling from any database must do. A subclass gives ``shop``: a table ``orders`` that it may write to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from trainyard.errors import ServiceError
from trainyard.testing.crashpoints import armed
from trainyard_ingest.domain.pull_spec import TableSpec
from trainyard_ingest.pulling import engines

EVERYTHING = "id, price, city, day, at, ok"


class SqlSourceSuite:
    """``shop.insert(id, price, city, day, at, ok)``, ``shop.execute(sql)``, ``shop.address``, ``scene``."""

    def describe(self, scene, shop, **others):
        """Make the source of the table ``orders``."""
        body = {"kind": "sql", "database": shop.address, "table": "orders", "cursor": "id", "lag": 0, "zone": "UTC"}
        return scene.put(**{**body, "tls": "off", **others})

    def test_values_arrive_as_they_are(self, scene, shop):
        """Numbers, texts (the empty one too), dates, times and truth are equal on both sides; NULL is missing."""
        shop.insert(1, "1.25", 'Größe "x"\n,', "2026-02-01", "2026-02-01 10:00:00", True)
        shop.insert(2, None, "", None, None, False)
        self.describe(scene, shop)
        last = scene.pull().last
        assert (last.error, last.rows) == (None, 2)
        at = datetime(2026, 2, 1, 10, tzinfo=UTC)
        assert scene.rows(EVERYTHING) == [
            (1, 1.25, 'Größe "x"\n,', date(2026, 2, 1), at, True),
            (2, None, "", None, None, False),
        ]

    def test_pages_become_batches_and_the_next_pull_goes_on(self, scene, shop):
        """Each page is a batch; what comes later is taken by the next pull, and nothing twice."""
        shop.fill(25)
        self.describe(scene, shop, page_rows=10)
        assert scene.pull().last.rows == 25
        assert [batch.rows for batch in scene.batches()] == [10, 10, 5]
        assert {(batch.source, batch.source_name) for batch in scene.batches()} == {("pull", "s")}
        assert scene.pull().last.rows == 0
        shop.insert(26, "1", "x", None, None, None)
        source = scene.pull()
        assert (source.last.rows, source.cursor, source.state) == (1, {"key": [26]}, "idle")
        assert scene.rows() == list(range(1, 27))

    @pytest.mark.parametrize("rows", [9, 10, 11])
    def test_at_the_edge_of_a_page(self, scene, shop, rows):
        """One row less than a page, a whole page, and one more: every row once."""
        shop.fill(rows)
        self.describe(scene, shop, page_rows=10)
        assert scene.pull().last.rows == rows
        assert scene.rows() == list(range(1, rows + 1))

    def test_many_rows_of_one_time(self, scene, shop):
        """A cursor that many rows share is told apart by the key, also where a page ends between them."""
        for number in range(1, 8):
            shop.insert(number, "1", "x", None, "2026-02-01 10:00:00", None)
        self.describe(scene, shop, cursor="at", page_rows=3)
        assert scene.pull().last.error is None
        shop.insert(8, "1", "x", None, "2026-02-01 10:00:00", None)
        scene.pull()
        assert scene.rows() == list(range(1, 9))

    def test_columns_by_other_names(self, scene, shop):
        """The mapping says which column of the table is which of the dataset."""
        shop.insert(1, "2.5", "x", None, None, None)
        self.describe(scene, shop, columns={"id": "id", "city": "city"})
        scene.pull()
        assert scene.rows("id, price, city") == [(1, None, "x")]

    def test_bad_rows_leave_the_cursor(self, scene, shop):
        """A page with too many bad rows is refused whole and seen; mended at its source it is taken."""
        shop.insert(1, "1", "x", None, None, None)
        self.describe(scene, shop, columns={"id": "id", "city": "price"})
        assert "invalid_rows" in scene.error()
        assert [batch.state for batch in scene.batches()] == ["refused"]
        assert scene.source().cursor is None
        self.describe(scene, shop)
        assert scene.pull().last.rows == 1

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"table": "nothing"}, "no table"),
            ({"table": 'orders"; DROP TABLE orders; --'}, "no table"),
            ({"cursor": "nothing"}, "no column 'nothing'"),
            ({"cursor": "city"}, ""),
            ({"columns": {"id": "nothing"}}, "no column 'nothing'"),
            ({"columns": {"nothing": "id"}}, "no column 'nothing'"),
            ({"columns": {"city": "city"}}, "must have 'id'"),
            ({"tie_breakers": ["nothing"]}, "no column 'nothing'"),
            ({"schema": "no_such_schema"}, "no schema"),
        ],
    )
    def test_descriptions_that_do_not_fit(self, scene, shop, change, words):
        """Names are looked up in what the database says of itself, and the answer says what to change."""
        shop.insert(1, "1", "x", None, None, None)
        self.describe(scene, shop, **change)
        if change == {"cursor": "city"}:  # with the key as its tie-breaker a text is as good as any other
            assert scene.pull().last.error is None
            return
        error = scene.error()
        assert "source_refused" in error
        assert words in error
        assert scene.rows() == []

    def test_the_session_cannot_write(self, scene, shop):
        """Whatever a bug might send, the database refuses to change anything."""
        spec = TableSpec.of(self.describe(scene, shop).description)
        with engines.connected(spec, scene.access, engines.password_of(spec, scene.access)) as connection:
            with pytest.raises(DBAPIError):
                connection.execute(sa.text("DELETE FROM orders"))
            connection.rollback()

    @pytest.mark.parametrize("action", ["error", "lost"])
    @pytest.mark.parametrize("point", ["K1", "K2", "K3", "K4", "K5", "K6", "K7", "K8", "K9"])
    def test_failing_at_each_step(self, scene, shop, point, action):
        """Failed at any point and taken up again, though rows came and went meanwhile: every row once."""
        shop.fill(25)
        self.describe(scene, shop, page_rows=10)
        scene.sources.ask(scene.dataset, "s", actor="k", once=None)
        with armed(point, action):
            try:
                scene.puller.step()
            except Exception as e:  # noqa: BLE001 - whatever it is, the worker would be started again
                assert "crash point" in str(e)  # noqa: PT017
        shop.execute("DELETE FROM orders WHERE id = 30")
        shop.insert(26, "1", "x", None, None, None)
        scene.again() if scene.source().answered == 0 else scene.pull()
        scene.pull()
        assert scene.rows() == list(range(1, 27))
        assert scene.source().last.error is None

    def test_rows_that_came_into_a_planned_range(self, scene, shop):
        """A range that was planned is read again as one, however many rows it has by then; committed ones are not."""
        shop.execute("DELETE FROM orders")
        for number in (1, 3, 5):
            shop.insert(number, "1", "x", None, None, None)
        self.describe(scene, shop, page_rows=3)
        scene.sources.ask(scene.dataset, "s", actor="k", once=None)
        with armed("K5"), pytest.raises(Exception, match="crash point"):
            scene.puller.step()
        for number in (2, 4, 6):
            shop.insert(number, "1", "x", None, None, None)
        scene.again()
        assert scene.rows() == [1, 2, 3, 4, 5, 6]

    def test_a_file_of_secrets_that_cannot_be_read(self, scene, shop):
        """It ends this pull and says so; the worker, which has landing files to take too, goes on."""
        shop.fill(1)
        self.describe(scene, shop, secret="reader")
        scene.puller._tables._access = replace(scene.access, secrets=Path("/nowhere/secrets"))
        assert "TRAINYARD_PULL_SECRETS cannot be read" in scene.error()

    def test_a_fault_of_our_own(self, scene, shop, monkeypatch):
        """What nobody has foreseen ends this pull, not the worker, and is not called the source's doing."""
        shop.fill(1)
        self.describe(scene, shop)
        with monkeypatch.context() as patch:
            patch.setattr(scene.puller, "_spool", Path("/nowhere"))
            error = scene.error()
        assert "fault of the service: FileNotFoundError" in error
        assert scene.pull().last.rows == 1

    def test_a_server_that_is_away(self, scene, shop):
        """The pull ends, says so, and the next one works."""
        shop.fill(1)
        self.describe(scene, shop, **shop.away)
        assert scene.pull().state == "failed"
        assert scene.rows() == []

    def test_no_table_without_order(self, scene, shop):
        """A table without a key needs tie-breakers; two rows of one place are refused, never half read."""
        shop.execute("CREATE TABLE loose (id integer, price integer)")
        shop.execute("INSERT INTO loose VALUES (1, 1), (1, 1), (2, 2)")
        self.describe(scene, shop, table="loose", columns={"id": "id"})
        assert "tie_breakers" in scene.error()
        self.describe(scene, shop, table="loose", columns={"id": "id"}, tie_breakers=["price"], page_rows=1)
        assert "two rows have the same" in scene.error()
        assert scene.rows() == []

    def test_rows_without_a_place(self, scene, shop):
        """Rows whose cursor is NULL would never be read, so the source is refused."""
        shop.fill(2)
        shop.insert(3, "1", "x", None, None, None)
        self.describe(scene, shop, cursor="day", tie_breakers=["id"])
        error = scene.error()
        assert "without a value" in error or "cannot be a cursor" in error

    def test_bytes_are_refused(self, scene, shop):
        """A column of bytes can be no column of a dataset."""
        shop.execute(f"CREATE TABLE files (id integer PRIMARY KEY, city {shop.bytes_type})")
        shop.execute(f"INSERT INTO files VALUES (1, {shop.bytes_value})")
        self.describe(scene, shop, table="files", columns={"id": "id", "city": "city"})
        assert "bytes" in scene.error()

    def test_lag_of_a_cursor_that_is_no_time(self, scene, shop):
        """The lag is waited out between looking and reading, so that what was numbered before is there."""
        shop.fill(3)
        self.describe(scene, shop, lag=7)
        scene.pull()
        assert scene.pauses == [7]
        scene.pull()
        assert scene.pauses == [7]


def refused(call) -> ServiceError:
    """Return what ``call`` is refused with."""
    with pytest.raises(ServiceError) as caught:
        call()
    return caught.value
