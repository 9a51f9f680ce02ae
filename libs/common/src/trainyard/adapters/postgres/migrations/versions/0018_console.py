"""What the console shows: the lines that runs have said, predictions by the hour, runs by their model."""

from alembic import op

from trainyard.adapters.postgres.migrations import read_sql

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make tables and indexes."""
    op.execute(read_sql("0018_console.sql"))


def downgrade() -> None:
    """Take them away; only tests do this."""
    op.execute("DROP INDEX core.version_by_run")
    op.execute("DROP TRIGGER run_of_model ON core.run")
    op.execute("DROP FUNCTION core.run_of_model()")
    op.execute("ALTER TABLE core.run DROP COLUMN model_id")
    op.execute("DROP TABLE core.traffic, core.run_line")
