"""Alembic's entry: runs on the connection that ``migrate()`` hands over, which holds the lock; tests hand an engine."""

from contextlib import nullcontext

import sqlalchemy as sa
from alembic import context

given = context.config.attributes["connection"]
with nullcontext(given) if isinstance(given, sa.Connection) else given.connect() as connection:
    # There are no models: the schema is what the SQL files say. Nothing of it lies in the default schema.
    context.configure(
        connection=connection,
        target_metadata=sa.MetaData(),
        version_table="alembic_version",
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
