"""What the role trainyard_ingest may do and what not, statement by statement, as a login of its own."""

from __future__ import annotations

import io
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from trainyard.adapters.postgres.engine import make_engine, transaction
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.contracts.prediction_log import Added, Label, Prediction
from trainyard.schema import Schema
from trainyard_ingest.domain.formats import CSV
from trainyard_ingest.use_cases.intake import Origin, RowIntake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.testing.postgres import PostgresServer

ROLE = "trainyard_ingest"
LOGIN = "somebody_who_ingests"
DENIED = "42501"
SCHEMA = Schema.from_dict(
    {"columns": [{"name": "id", "type": "int", "role": "key", "nullable": False}, {"name": 'a "b" c', "type": "text"}]}
)
#: Statement -> None: it may; else the SQLSTATE that it gets.
TABLE: dict[str, str | None] = {
    # rows of datasets
    "SELECT count(*) FROM data_.t_1": None,
    "SELECT count(*) FROM data.shop": None,
    "INSERT INTO data_.t_1 (c1, c2) VALUES (1, 'x')": None,
    "DELETE FROM data_.t_1": None,
    "SELECT setval('data_.s_1', 7, false)": None,
    "UPDATE data_.t_1 SET c1 = 2": DENIED,
    "TRUNCATE data_.t_1": DENIED,
    "DROP TABLE data_.t_1": DENIED,
    "DROP VIEW data.shop": DENIED,
    "DROP SEQUENCE data_.s_1": DENIED,
    "ALTER TABLE data_.t_1 ADD COLUMN c3 text": DENIED,
    "ALTER TABLE data_.t_1 ALTER COLUMN c1 TYPE text": DENIED,
    "ALTER TABLE data_.t_1 DISABLE TRIGGER ALL": DENIED,
    "ALTER SEQUENCE data_.s_1 RESTART": DENIED,
    "CREATE INDEX ON data_.t_1 (c1)": DENIED,
    "CREATE TRIGGER x BEFORE INSERT ON data_.t_1 EXECUTE FUNCTION core.redirect_prediction()": DENIED,
    "GRANT SELECT ON core.api_key TO PUBLIC": DENIED,
    "ALTER TABLE data_.t_1 OWNER TO somebody_who_ingests": DENIED,
    "LOCK TABLE core.model IN ACCESS EXCLUSIVE MODE": DENIED,
    # making things
    "CREATE TABLE data_.mine (a integer)": DENIED,
    "CREATE TABLE core.mine (a integer)": DENIED,
    "CREATE TABLE data.mine (a integer)": DENIED,
    "CREATE TABLE optuna.mine (a integer)": DENIED,
    "CREATE TABLE public.mine (a integer)": DENIED,
    "CREATE VIEW data.mine AS SELECT 1": DENIED,
    "CREATE FUNCTION core.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'": DENIED,
    "CREATE SCHEMA mine": DENIED,
    "CREATE ROLE mine": DENIED,
    "CREATE EXTENSION plpgsql": "42710",
    "CREATE TEMPORARY TABLE mine (a integer)": None,
    # records
    "SELECT * FROM core.dataset": None,
    "INSERT INTO core.dataset (name, columns) VALUES ('new', '[]')": None,
    "UPDATE core.dataset SET last_seq = 9, columns = '[]', settings = '{}', revision = 2": None,
    "UPDATE core.dataset SET deleted_at = now()": None,
    "UPDATE core.dataset SET name = 'other'": DENIED,
    "UPDATE core.dataset SET id = DEFAULT": DENIED,
    "DELETE FROM core.dataset": DENIED,
    "SELECT last_seq FROM core.dataset FOR NO KEY UPDATE": None,
    "UPDATE core.batch SET reported_at = now()": None,
    "DELETE FROM core.batch": DENIED,
    "DELETE FROM core.reject": None,
    "DELETE FROM core.loading": None,
    "INSERT INTO core.dataset_revision (dataset_id, revision, columns, changes, actor)"
    " VALUES (1, 1, '[]', '[]', 'a')": None,
    "DELETE FROM core.erasure": DENIED,
    "UPDATE core.erasure SET actor = 'nobody'": DENIED,
    "UPDATE core.erasure SET rows = 7, last_at = now()": None,
    "INSERT INTO core.level (dataset_id, position, level, first_seq) VALUES (1, 1, 'a', 1)": None,
    "DELETE FROM core.level": None,
    # models, versions, trainings
    "SELECT name FROM core.model": None,
    "INSERT INTO core.model (name, dataset_id, label, task, policy) VALUES ('x', 1, 'y', 'auto', '{}')": DENIED,
    "UPDATE core.model SET policy = '{}'": DENIED,
    "UPDATE core.model SET dataset_id = 1": DENIED,
    "SELECT FROM core.model FOR UPDATE": DENIED,
    "SELECT core.hold_models(1)": None,
    "UPDATE core.version SET not_reproducible = 'erased'": None,
    "UPDATE core.version SET version = 7": DENIED,
    "UPDATE core.version SET sha256 = ''": DENIED,
    "UPDATE core.alias SET version = 1": DENIED,
    "INSERT INTO core.alias (model_id, name, version, seq) VALUES (1, 'champion', 1, 1)": DENIED,
    "UPDATE core.training_request SET state = 'done'": DENIED,
    "INSERT INTO core.deployment (model_id, alias, seq, actor, reason) VALUES (1, 'a', 1, 'a', 'a')": DENIED,
    "SELECT * FROM core.trial": DENIED,
    # keys
    "SELECT secret_sha256 FROM core.api_key": DENIED,
    "INSERT INTO core.api_key (id, name, secret_sha256, scopes) VALUES ('a', 'a', '', '{admin}')": DENIED,
    "UPDATE core.api_key SET revoked_at = NULL": DENIED,
    # the log
    "SELECT count(*) FROM core.prediction": None,
    "SELECT * FROM core.open_prediction_month()": None,
    "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at)"
    " VALUES ('p', 'm', 1, '{}', '{}', now())": DENIED,
    "DELETE FROM core.prediction": DENIED,
    "UPDATE core.prediction SET output = '{}'": DENIED,
    "UPDATE core.prediction_kept SET since = '-infinity'": DENIED,
    "SELECT core.prediction_month('2020-01-01')": DENIED,
    "SELECT core.forget_predictions('1 day', 9)": DENIED,
    "INSERT INTO core.feedback (prediction_id, label) VALUES ('p', '1')": None,
    "DELETE FROM core.feedback": DENIED,
    "UPDATE core.feedback SET label = '0'": DENIED,
    # what is left behind
    "INSERT INTO core.outbox (queue, type, body) VALUES ('arrived', 't', 'b')": None,
    "UPDATE core.outbox SET sent_at = now()": DENIED,
    "INSERT INTO core.event (kind, subject, payload) VALUES ('k', 's', '{}')": None,
    "DELETE FROM core.event": DENIED,
    "UPDATE core.audit SET actor = 'nobody'": DENIED,
    "DELETE FROM core.audit": DENIED,
    "SELECT pg_notify('trainyard', 'k')": None,
    # the history, the server
    "UPDATE alembic_version SET version_num = '0001'": DENIED,
    "SELECT pg_read_file('/etc/passwd')": DENIED,
    "COPY core.dataset TO PROGRAM 'cat'": DENIED,
    "COPY data_.t_1 (c1) FROM '/etc/passwd'": DENIED,
    "SET ROLE trainyard": DENIED,
    "SET SESSION AUTHORIZATION trainyard": DENIED,
    "SELECT lo_import('/etc/passwd')": DENIED,
    "SET session_replication_role = replica": DENIED,
}


@pytest.fixture
def login(postgres: PostgresServer, database_url: str) -> str:
    """The address for a login that is a member of the role and nothing else; a dataset ``shop`` is there."""
    postgres.execute(
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{LOGIN}') THEN"
        f" CREATE ROLE {LOGIN} LOGIN IN ROLE {ROLE}; END IF; END $$"
    )
    engine = make_engine(database_url, service="test")
    PostgresWarehouse(engine, SystemClock()).create("shop", SCHEMA, actor="k")
    engine.dispose()
    return make_url(database_url).set(username=LOGIN).render_as_string(hide_password=False)


@pytest.fixture
def mine(login: str) -> Iterator[Any]:
    """A connection as that login; what it does is rolled back."""
    with closing(psycopg2.connect(login.replace("+psycopg2", ""))) as connection:
        yield connection


def _state(connection: Any, statement: str, *values: object) -> str | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
    except psycopg2.Error as e:
        return e.pgcode
    finally:
        connection.rollback()
    return None


def test_every_statement(mine: Any) -> None:
    """Each of them is allowed or refused as the table says."""
    found = {statement: _state(mine, statement) for statement in TABLE}
    assert found == TABLE
    assert len(TABLE) >= 40


def _rename(name: str) -> Any:
    return [{"name": name, "type": "int", "role": "feature", "physical": "c1"}]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("hostile", [{"name": "a", "type": "text'); DROP TABLE core.model; --", "physical": "c1"}]),
        ("hostile", [{"name": "a", "type": "text", "physical": "c1 text; DROP TABLE core.model; --"}]),
        ("hostile", [{"name": "a", "type": "text", "physical": "ingest_seq"}]),
        ("hostile", [{"name": "a", "type": "text", "physical": "c2"}]),
        ("hostile", [{"name": "a", "type": "oid", "physical": "c1"}]),
        ("hostile", [{"name": "a", "physical": "c1"}]),
        ("hostile", [{"name": "", "type": "int", "physical": "c1"}]),
        ("hostile", [{"name": "a", "type": "int", "physical": "c1"}, {"name": "a", "type": "int", "physical": "c2"}]),
        ("hostile", {"name": "a"}),
        ("hostile", "text"),
        ("x; DROP TABLE core.model", _rename("a")),
        ('shop" AS SELECT 1; --', _rename("a")),
        ("Shop", _rename("a")),
        ("shop\n", _rename("a")),
        ("", _rename("a")),
    ],
    ids=range(15),
)
def test_hostile_records_make_nothing(mine: Any, postgres: PostgresServer, name: str, columns: Any) -> None:
    """A record that no dataset can have is refused by the function, and nothing was made of it."""
    before = _objects(mine)
    with mine.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core.dataset (name, columns) VALUES (%s, %s) RETURNING id", [name, json.dumps(columns)]
        )
        (number,) = cursor.fetchone()
        with pytest.raises(psycopg2.Error):
            cursor.execute("SELECT core.shape_dataset(%s)", [number])
    mine.rollback()
    assert _objects(mine) == before


@pytest.mark.parametrize(
    "name",
    [
        '"; DROP TABLE core.model; --',
        "a' || pg_sleep(1) || '",
        "$$ $function$",
        "%s %I {}",
        "é\\'\"",
        "ingest_seq",
        "c2",
    ],
)
def test_hostile_names_are_only_names(mine: Any, name: str) -> None:
    """Whatever a column is called, the view calls it so, and nothing else has happened."""
    before = _objects(mine)
    with mine.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core.dataset (name, columns) VALUES ('odd', %s) RETURNING id", [json.dumps(_rename(name))]
        )
        (number,) = cursor.fetchone()
        cursor.execute("SELECT core.shape_dataset(%s)", [number])
        cursor.execute("SELECT * FROM data.odd")
        assert [column.name for column in cursor.description] == [name]
        made = _objects(mine) - before
    assert {kind_and_name[1] for kind_and_name in made} == {
        f"data_.t_{number}",
        f"data_.t_{number}_pkey",
        f"data_.s_{number}",
        "data.odd",
    }


@pytest.mark.parametrize(
    "disguise",
    [
        "CREATE TEMPORARY TABLE dataset AS SELECT 1 AS id",
        "CREATE FUNCTION pg_temp.format(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'DROP TABLE core.model' $$",
        (
            "CREATE FUNCTION pg_temp.jsonb_array_elements(jsonb) RETURNS SETOF jsonb LANGUAGE sql"
            " AS $$ SELECT '{}'::jsonb $$"
        ),
        "CREATE TEMPORARY TABLE pg_attribute AS SELECT 1 AS attrelid",
        "CREATE TEMPORARY TABLE pg_depend AS SELECT 1 AS classid",
    ],
    ids=["table", "format", "elements", "pg_attribute", "pg_depend"],
)
def test_a_search_path_cannot_disguise_anything(mine: Any, disguise: str) -> None:
    """The functions that run with more rights look into pg_catalog first, whatever their caller has made and set."""
    with mine.cursor() as cursor:
        cursor.execute(disguise)
        cursor.execute("SET search_path = pg_temp, core, public, pg_catalog")
        cursor.execute(
            "INSERT INTO core.dataset (name, columns) VALUES ('odd', %s) RETURNING id", [json.dumps(_rename("a"))]
        )
        (number,) = cursor.fetchone()
        cursor.execute("SELECT core.shape_dataset(%s)", [number])
        cursor.execute("SELECT month FROM core.open_prediction_month()")
        cursor.execute("UPDATE core.dataset SET deleted_at = now() WHERE id = %s", [number])
        cursor.execute("SELECT core.shape_dataset(%s)", [number])
        cursor.execute("SELECT to_regclass('core.model') IS NOT NULL, to_regclass('data.odd') IS NULL")
        assert cursor.fetchone() == (True, True)


def test_a_deleted_dataset_takes_only_its_own_view(mine: Any) -> None:
    """The name of a deleted dataset may be in use again: that one's view stays."""
    with mine.cursor() as cursor:
        cursor.execute("UPDATE core.dataset SET deleted_at = now() WHERE id = 1")
        cursor.execute("INSERT INTO core.dataset (name, columns) VALUES ('shop', %s) RETURNING id", [_two_columns()])
        (number,) = cursor.fetchone()
        cursor.execute("SELECT core.shape_dataset(%s)", [number])
        cursor.execute("SELECT core.shape_dataset(1)")
        cursor.execute("SELECT to_regclass('data_.t_1') IS NULL, (SELECT count(*) FROM data.shop)")
        assert cursor.fetchone() == (True, 0)


def _two_columns() -> str:
    columns = [{**column.to_dict(), "physical": f"c{n}"} for n, column in enumerate(SCHEMA.columns, start=1)]
    return json.dumps(columns)


def _objects(connection: Any) -> set[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relkind::text, c.relnamespace::regnamespace || '.' || c.relname FROM pg_class c"
            " WHERE c.relnamespace::regnamespace::text IN ('core', 'data', 'data_', 'optuna', 'public')"
        )
        return set(cursor.fetchall())


def test_the_adapters_work_with_it(login: str) -> None:
    """Datasets are made, loaded and deleted and predictions logged by what the role may do."""
    engine = make_engine(login, service="test")
    warehouse, log = PostgresWarehouse(engine, SystemClock()), PostgresPredictionLog(engine)
    at = SystemClock().now()
    prediction = Prediction("p", "m", 1, None, None, {}, {"prediction": 1}, None, at)
    assert log.add([prediction]) == Added(1)
    assert log.give([Label(1, "p")], key_id=None, trace_id=None, once=None).parked == 0
    assert [row.prediction.id for row in log.page(model="m", version=1, limit=9)] == ["p"]
    body = io.BytesIO(b'id,"a ""b"" c"\n1,x\n2,\n')
    stored = RowIntake(warehouse, SystemClock()).take("shop", body, CSV, Origin("http", "", None, None))
    assert (stored.batch.rows, stored.batch.last_seq) == (2, 2)
    warehouse.create("other", SCHEMA, actor="k")
    warehouse.delete("other", actor="k")
    assert [dataset.name for dataset in warehouse.datasets(limit=9)] == ["shop"]
    engine.dispose()


def test_a_session_takes_the_role(database_url: str) -> None:
    """Whoever logs in, ingest's sessions act as the role that the setting names."""
    role = load({}).ingest_role
    engine = make_engine(database_url, service="test", role=role)
    with transaction(engine) as connection:
        assert connection.execute(sa.text("SELECT current_user::text")).scalar_one() == role == ROLE
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            connection.execute(sa.text("CREATE TABLE data_.mine (a integer)"))
    engine.dispose()
