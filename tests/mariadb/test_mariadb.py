"""Pulling from MariaDB, as a user with a password and over TLS where a test says so."""

from contextlib import closing
from dataclasses import replace

import pymysql
import pytest
from sql_suite import SqlSourceSuite

from trainyard_ingest.domain.pull_spec import TableSpec
from trainyard_ingest.pulling import engines

_PASSWORD = "pass wörd"


class MariaShop:
    """A database of the tests' server."""

    bytes_type, bytes_value = "blob", "x'00ff'"

    def __init__(self, server, name):
        self._server = server
        self._name = name
        self.address = f"mysql://reader@localhost:{server.port}/{name}"
        self.away = {"database": f"mariadb://reader@localhost:1/{name}"}
        self.execute(
            "CREATE TABLE orders (id bigint PRIMARY KEY, price decimal(12, 4), city varchar(100), day date,"
            " at datetime(6), ok boolean)"
        )

    def execute(self, statement, values=()):
        self._server.execute(statement, values, database=self._name)

    def insert(self, *values):
        self.execute("INSERT INTO orders VALUES (%s, %s, %s, %s, %s, %s)", values)

    def fill(self, count):
        self.execute(
            f"INSERT INTO orders SELECT seq, 1.5, 'x', NULL, '2026-02-01 10:00:00', NULL FROM seq_1_to_{count}"
        )


class TestMariaDb(SqlSourceSuite):
    """The suite, and what only MySQL and MariaDB have."""

    @pytest.fixture
    def shop(self, maria, database):
        """A database with a table."""
        return MariaShop(maria, database)

    def describe(self, scene, shop, **others):
        """Make the source, with the reader's password."""
        return super().describe(scene, shop, **{"secret": "reader", **others})

    def test_tls_with_the_hosts_certificate(self, scene, shop, certificate):
        """With verify-full the server must prove its name by an authority that is trusted."""
        shop.fill(3)
        self.describe(scene, shop, tls="verify-full")
        assert "certificate" in scene.error().lower()
        scene.puller._tables._access = replace(scene.access, ca_file=str(certificate[0]))
        assert scene.pull().last.rows == 3

    def test_tls_without_looking_at_the_certificate(self, scene, shop):
        """With 'require' the connection is encrypted, whoever is at its end."""
        shop.fill(3)
        self.describe(scene, shop, tls="require")
        assert scene.pull().last.rows == 3

    def test_a_wrong_password(self, scene, shop, maria):
        """What the server says of it is told, without the password."""
        scene.access.secrets.write_text("reader localhost hunter2\n")
        self.describe(scene, shop)
        error = scene.error()
        assert "Access denied" in error
        assert "hunter2" not in error

    def test_instants_and_floats(self, scene, shop):
        """TIMESTAMP is an instant whatever the zones say; FLOAT and DOUBLE come with every digit they hold."""
        shop.execute(
            "CREATE TABLE visits (id integer PRIMARY KEY AUTO_INCREMENT, at timestamp(6) NOT NULL,"
            " price double, single float)"
        )
        shop.execute(
            "SET STATEMENT time_zone = '+05:00' FOR INSERT INTO visits (at, price, single)"
            " VALUES ('2026-02-01 10:00:00.000001', 0.1234567890123456, 16777215)"
        )
        self.describe(scene, shop, table="visits", zone="Europe/Berlin", cursor="at")
        scene.pull()
        (row,) = scene.rows("price, at")
        assert row[0] == 0.1234567890123456
        assert row[1].isoformat() == "2026-02-01T05:00:00.000001+00:00"
        columns = {"id": "id", "single": "price"}
        self.describe(scene, shop, table="visits", cursor="id", columns=columns)
        scene.pull()
        assert scene.rows("price")[-1] == 16777215.0

    def test_times_a_lag_behind(self, scene, shop):
        """A cursor that is a time stops short of the source's now."""
        shop.execute(
            "INSERT INTO orders (id, at) VALUES (1, UTC_TIMESTAMP(6) - INTERVAL 1 HOUR), (2, UTC_TIMESTAMP(6)),"
            " (3, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)"
        )
        self.describe(scene, shop, cursor="at", lag="5m")
        scene.pull()
        assert scene.rows() == [1]

    def test_a_day_that_there_is_not(self, scene, shop):
        """MySQL's zero date is no date: its row is rejected, not changed."""
        shop.execute("SET STATEMENT sql_mode = '' FOR INSERT INTO orders (id, day) VALUES (1, '0000-00-00')")
        self.describe(scene, shop)
        assert "invalid_rows" in scene.error()

    @pytest.mark.parametrize(("cursor", "tie"), [("kind", "id"), ("city", "kind")])
    def test_values_of_a_list_put_rows_in_order(self, scene, shop, cursor, tie):
        """An ENUM is ordered and compared as the same thing, also as a tie-breaker: no row between pages is lost."""
        shop.execute(
            "CREATE TABLE events (kind enum('z', 'm', 'a', 'M') COLLATE utf8mb4_bin NOT NULL, id bigint NOT NULL,"
            " city varchar(9) NOT NULL, PRIMARY KEY (kind, id), UNIQUE (city, kind))"
        )
        for number in range(12):
            shop.execute("INSERT INTO events VALUES (%s, %s, %s)", ("zmaM"[number % 4], number, f"c{number // 4}"))
        self.describe(scene, shop, table="events", columns={"id": "id"}, page_rows=2, cursor=cursor, tie_breakers=[tie])
        assert scene.pull().last.error is None
        assert sorted(scene.rows()) == list(range(12))

    def test_texts_that_differ_by_case_only(self, scene, shop):
        """A text cursor is ordered as the server orders it: no row is skipped between pages."""
        for number, city in enumerate(["b", "A", "a", "B", "ä", "Ä", ""], start=1):
            shop.insert(number, "1", city, None, None, None)
        self.describe(scene, shop, cursor="city", page_rows=2)
        scene.pull()
        assert sorted(scene.rows()) == [1, 2, 3, 4, 5, 6, 7]

    def test_the_server_may_not_read_our_files(self, scene, shop, maria, database):
        """LOAD DATA LOCAL, with which a hostile server could ask for any file, is off."""
        spec = TableSpec.of(self.describe(scene, shop).description)
        connection = engines._mysql(spec, scene.access, _PASSWORD)
        with closing(connection), connection.cursor() as cursor, pytest.raises(pymysql.MySQLError):
            cursor.execute("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE orders")
