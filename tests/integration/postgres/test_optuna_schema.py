"""The tables of revision 0011 are those that the installed Optuna would make itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from optuna.storages import RDBStorage

from trainyard.adapters.postgres.engine import engine_settings

if TYPE_CHECKING:
    from trainyard.testing.postgres import PostgresServer

_COLUMNS = """
    SELECT table_name, column_name, udt_name, is_nullable, column_default, character_maximum_length
    FROM information_schema.columns WHERE table_schema = :schema ORDER BY 1, 2"""
_INDEXES = "SELECT tablename, replace(indexdef, 'optuna.', '') FROM pg_indexes WHERE schemaname = :schema ORDER BY 1, 2"
_ENUMS = """
    SELECT t.typname, e.enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid
    WHERE t.typnamespace = CAST(:schema AS regnamespace) ORDER BY 1, e.enumsortorder"""
_REVISION = "SELECT 'revision', version_num FROM alembic_version"
_SCHEMA = "SELECT 'schema', schema_version FROM version_info"


def _described(url: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(url, **engine_settings(service="test", pool_size=2, search_path="optuna"))
    with engine.connect() as connection:
        found = [
            tuple(row)
            for statement in (_COLUMNS, _INDEXES, _ENUMS, _REVISION, _SCHEMA)
            for row in connection.execute(sa.text(statement), {"schema": "optuna"} if ":schema" in statement else {})
        ]
    engine.dispose()
    return found


def test_the_tables_are_the_librarys(database_url: str, postgres: PostgresServer) -> None:
    """Columns, types, indexes, and the version that the library looks at before it works."""
    name = postgres.create_database()
    other = postgres.url(name)
    engine = sa.create_engine(other)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA optuna"))
    engine.dispose()
    storage = RDBStorage(other, engine_settings(service="test", pool_size=2, search_path="optuna"))
    storage.engine.dispose()
    theirs = _described(other)
    postgres.drop_database(name)
    assert _described(database_url) == theirs
