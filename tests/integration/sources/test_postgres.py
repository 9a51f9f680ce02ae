"""Pulling from another Postgres database."""

import pytest
import sqlalchemy as sa
from sql_suite import SqlSourceSuite


class PostgresShop:
    """Another database of the tests' server."""

    bytes_type, bytes_value = "bytea", r"'\x00ff'"

    def __init__(self, server, name):
        self.engine = sa.create_engine(server.url(name), poolclass=sa.NullPool)
        self.address = f"postgresql://trainyard@localhost:{server.port}/{name}"
        self.away = {"database": f"postgresql://trainyard@127.0.0.1:1/{name}"}
        self.execute(
            "CREATE TABLE orders (id bigint PRIMARY KEY, price numeric(12, 4), city text, day date, at timestamptz,"
            " ok boolean)"
        )

    def execute(self, statement, **values):
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def insert(self, *values):
        names = ("id", "price", "city", "day", "at", "ok")
        zoned = {**dict(zip(names, values, strict=True)), "at": values[4] and f"{values[4]}+00"}
        self.execute(
            "INSERT INTO orders VALUES (:id, CAST(:price AS numeric), :city, CAST(:day AS date),"
            " CAST(:at AS timestamptz), :ok)",
            **zoned,
        )

    def fill(self, count):
        self.execute(
            "INSERT INTO orders SELECT n, 1.5, 'x', NULL, '2026-02-01 10:00:00+00', NULL"
            " FROM generate_series(1, :count) n",
            count=count,
        )


class TestPostgres(SqlSourceSuite):
    """The suite, and what only Postgres has."""

    @pytest.fixture
    def shop(self, postgres):
        """A database."""
        name = postgres.create_database()
        shop = PostgresShop(postgres, name)
        yield shop
        shop.engine.dispose()
        postgres.drop_database(name)

    def test_times_a_lag_behind(self, scene, shop):
        """A cursor that is a time stops short of the source's now, so that late commits are not skipped."""
        shop.execute(
            "INSERT INTO orders (id, at) VALUES (1, now() - interval '1 h'), (2, now()), (3, now() + interval '1 h')"
        )
        self.describe(scene, shop, cursor="at", lag="5m")
        scene.pull()
        assert scene.rows() == [1]
        assert scene.pauses == []

    def test_late_commit_of_a_lower_number(self, scene, shop):
        """A number that was given before and is committed during the lag is not skipped."""
        shop.insert(2, "1", "x", None, None, None)
        scene.pauses = _Committing(shop)
        scene.puller._tables._pause = scene.pauses.append
        self.describe(scene, shop, lag=5)
        scene.pull()
        assert scene.rows() == [1, 2]

    def test_naive_times(self, scene, shop):
        """Times without a zone are refused until somebody says which; local ones cannot be a cursor."""
        shop.execute("CREATE TABLE visits (id integer PRIMARY KEY, at timestamp)")
        shop.execute("INSERT INTO visits VALUES (1, '2026-07-01 12:00'), (2, '2026-01-01 12:00')")
        self.describe(scene, shop, table="visits", zone=None)
        assert "say which by 'zone'" in scene.error()
        self.describe(scene, shop, table="visits", zone="Europe/Berlin", cursor="at")
        assert "cannot be a cursor" in scene.error()
        self.describe(scene, shop, table="visits", zone="Europe/Berlin")
        scene.pull()
        assert [at.hour for at in scene.rows("at")] == [10, 11]

    def test_a_time_that_came_twice(self, scene, shop):
        """A local time in the hour that the clocks go back is told by its row, not guessed."""
        shop.execute("CREATE TABLE visits (id integer PRIMARY KEY, at timestamp)")
        shop.execute("INSERT INTO visits VALUES (1, '2026-10-25 02:30')")
        self.describe(scene, shop, table="visits", zone="Europe/Berlin")
        assert "expected an ISO 8601 time with zone" in scene.error()

    @pytest.mark.parametrize("value", ["NaN", "9007199254740993", "0.1"])
    def test_numbers_that_no_float_is(self, scene, shop, value):
        """NUMERIC that is no number, or one that a float would change in its whole digits, is a rejected row."""
        shop.execute("ALTER TABLE orders ALTER COLUMN price TYPE numeric")
        shop.insert(1, value, "x", None, None, None)
        self.describe(scene, shop)
        if value == "0.1":
            scene.pull()
            assert scene.rows("price") == [0.1]
        else:
            assert "invalid_rows" in scene.error()

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("at", "infinity"),
            ("at", "-infinity"),
            ("at", "10000-01-01"),
            ("at", "0044-03-15 BC"),
            ("day", "infinity"),
            ("day", "0044-03-15 BC"),
        ],
    )
    def test_times_that_no_calendar_has(self, scene, shop, column, value):
        """What lies before the year 1 or after 9999 is a rejected row, not another time and not the end of the pull."""
        shop.fill(20)
        shop.execute(f"UPDATE orders SET {column} = '{value}' WHERE id = 7")
        self.describe(scene, shop)
        assert scene.pull().last.error is None
        assert scene.rows() == [number for number in range(1, 21) if number != 7]
        (batch,) = scene.batches()
        (problem,) = [problem for _, problem in scene.warehouse.rejects(batch, limit=9, after=0)]
        assert (problem.row, problem.column, problem.got.startswith(value[:8])) == (7, column, True)

    def test_a_cursor_before_all_times(self, scene, shop):
        """A place may be a time that Python does not have."""
        shop.execute("CREATE TABLE visits (id integer NOT NULL, at timestamptz PRIMARY KEY)")
        shop.execute("INSERT INTO visits VALUES (1, '-infinity'), (2, '2026-01-01 12:00Z')")
        self.describe(scene, shop, table="visits", cursor="at", columns={"id": "id"}, page_rows=1)
        assert scene.pull().last.error is None
        assert scene.rows() == [1, 2]

    def test_a_view(self, scene, shop):
        """A view has no key; with tie-breakers it is read like a table."""
        shop.fill(5)
        shop.execute('CREATE VIEW "Ord ers" AS SELECT id, city FROM orders')
        self.describe(scene, shop, table="Ord ers", tie_breakers=[], page_rows=2)
        scene.pull()
        assert scene.rows() == [1, 2, 3, 4, 5]

    def test_numbers_that_are_one_in_two_spellings(self, scene, shop):
        """A numeric 1.0 and 1.00 have one place, so a page must not end between them: refused, not lost."""
        shop.execute("CREATE TABLE weights (id integer, w numeric NOT NULL)")
        shop.execute("INSERT INTO weights VALUES (1, 1.0), (2, 1.00), (3, 2)")
        self.describe(scene, shop, table="weights", cursor="w", tie_breakers=[], page_rows=1, columns={"id": "id"})
        assert "two rows have the same 'w'" in scene.error()

    def test_another_schema(self, scene, shop):
        """A table in another schema than the first of the search path."""
        shop.execute('CREATE SCHEMA "Sales"')
        shop.execute('CREATE TABLE "Sales"."Orders" (id bigint PRIMARY KEY)')
        shop.execute('INSERT INTO "Sales"."Orders" VALUES (7)')
        self.describe(scene, shop, table="Orders", schema="Sales")
        scene.pull()
        assert scene.rows() == [7]

    def test_a_host_that_is_not_public(self, scene, shop):
        """Without the operator's word no database on a private address is reached, and the answer tells no address."""
        scene.access.rule._allowed.clear()
        self.describe(scene, shop)
        error = scene.error()
        assert "TRAINYARD_PULL_HOSTS" in error
        assert "127.0.0.1" not in error

    def test_tls_is_asked_for(self, scene, shop):
        """By default the server must speak TLS and prove its name; the tests' server does not."""
        shop.fill(1)
        self.describe(scene, shop, tls="verify-full")
        assert "SSL" in scene.error()

    def test_passwords_go_to_their_host_only(self, scene, shop, tmp_path):
        """A secret is sent to the host it is for; for another host the source is refused, and nothing shows it."""
        secrets = tmp_path / "secrets"
        secrets.write_text("shop db.example.com t0p secret\nmine localhost hunter2\n")
        scene.puller._tables._access = type(scene.access)(scene.access.rule, secrets, None, scene.access.ca_file)
        shop.fill(1)
        self.describe(scene, shop, secret="shop")
        assert "has no line 'shop localhost password'" in scene.error()
        source = self.describe(scene, shop, secret="mine")
        assert scene.pull().last.rows == 1
        assert "hunter2" not in str(source.as_dict())


class _Committing(list):
    """While the lag is waited out, somebody commits a row with a lower number."""

    def __init__(self, shop):
        super().__init__()
        self._shop = shop

    def append(self, _seconds):
        self._shop.insert(1, "1", "x", None, None, None)
