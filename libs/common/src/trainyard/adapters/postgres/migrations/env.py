"""Alembic's entry: runs on the connection that ``migrate()`` hands over, which holds the lock."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="alembic_version", transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
